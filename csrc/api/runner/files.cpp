#include "api/runner/files.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "api/runner/text.hpp"

namespace openbpu::runner {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

Status refused(const std::string& path, const char* what) {
  return {Code::Io, path, std::string(what) + ": " + std::strerror(errno)};
}

}  // namespace

Result<std::vector<std::uint8_t>> read_file(const std::string& path, const std::string& where, std::uint64_t limit) {
  const File file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) return refused(where, "cannot be opened");
  std::vector<std::uint8_t> bytes;
  std::uint8_t chunk[1 << 16];
  errno = 0;
  while (const std::size_t count = std::fread(chunk, 1, sizeof(chunk), file.get())) {
    if (bytes.size() + count > limit)
      return Status{
          Code::Io, where,
          format("holds more than the %llu bytes that the input can take", static_cast<unsigned long long>(limit))};
    bytes.insert(bytes.end(), chunk, chunk + count);
  }
  if (std::ferror(file.get())) return refused(where, "cannot be read");
  return bytes;
}

Status check_file(const std::string& path) {
  const File file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) return refused(path, "cannot be opened");
  std::fgetc(file.get());
  return std::ferror(file.get()) ? refused(path, "cannot be read") : Status{};
}

Status write_file(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + format(".%ld.part", static_cast<long>(::getpid()));
  File file(std::fopen(temporary.c_str(), "wb"), std::fclose);
  if (!file) return refused(path, "cannot be written");
  bool good = std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
  good = std::fclose(file.release()) == 0 && good;
  if (good && std::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const Status status = refused(path, "cannot be written");
  std::remove(temporary.c_str());
  return status;
}

Status make_folder(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder = path.substr(0, end);
    if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) return refused(path, "cannot be made");
    if (end == std::string::npos) break;
  }
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
  return {Code::Io, path, "must be a folder"};
}

bool has_ending(const std::string& path, std::string_view ending) {
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  return path.size() >= ending.size() &&
         std::equal(ending.begin(), ending.end(), path.end() - static_cast<std::ptrdiff_t>(ending.size()),
                    [&](char b, char a) { return same(a, b); });
}

}  // namespace openbpu::runner
