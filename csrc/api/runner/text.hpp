// Text of command lines and of the files that the runner writes.
#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

namespace openbpu::runner {

// printf into a string.
std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

// The parts between separators; "" gives none.
std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);

// Whole decimal numbers only; false if the text is anything else or does not fit.
template <class Integer>
bool parse_number(std::string_view text, Integer& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// The name with the fewest edits from `text`, which may be its beginning; "" if none is near.
std::string nearest(std::string_view text, const std::vector<std::string>& names);

// A JSON string with its quotes.
std::string json_string(std::string_view text);

}  // namespace openbpu::runner
