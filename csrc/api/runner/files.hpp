// Reading and writing whole files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/status.hpp"

namespace openbpu::runner {

// Fails with Code::Io if the system refuses or the file holds more than `limit` bytes; `where` starts the error.
Result<std::vector<std::uint8_t>> read_file(const std::string& path, const std::string& where, std::uint64_t limit);

// Fails with Code::Io unless there is a file that can be read; folders are none.
Status check_file(const std::string& path);

// Writes to a temporary name beside `path`, then renames: readers see the old file or the whole new one.
Status write_file(const std::string& path, std::string_view bytes);

// Makes a folder and those above it; one that exists will do.
Status make_folder(const std::string& path);

// Whether `path` ends with one of the endings, in any case: ".npy".
bool has_ending(const std::string& path, std::string_view ending);

}  // namespace openbpu::runner
