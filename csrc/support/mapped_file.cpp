#include "support/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>

namespace openbpu {

Result<MappedFile> MappedFile::open(const std::string& path, std::size_t slack) {
  const auto refused = [&] { return Status{Code::Io, path, std::strerror(errno)}; };
  struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) close(number);
    }
  } const file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat status;
  if (file.number < 0 || fstat(file.number, &status) != 0) return refused();
  if (!S_ISREG(status.st_mode)) return Status{Code::Io, path, "only a regular file can be mapped"};
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > std::numeric_limits<std::size_t>::max() - slack - 2 * page)
    return Status{Code::NoMemory, path, std::to_string(size) + " bytes of address space"};
  // Pages of zeros first, the file over them: the last of them are the slack.
  MappedFile mapped;
  const auto reserved = static_cast<std::size_t>((size + slack + page - 1) / page * page);
  void* start = mmap(nullptr, reserved, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return refused();
  mapped.data_ = static_cast<const std::uint8_t*>(start);
  mapped.size_ = static_cast<std::size_t>(size);
  mapped.reserved_ = reserved;
  if (size != 0 && mmap(start, mapped.size_, PROT_READ, MAP_PRIVATE | MAP_FIXED, file.number, 0) == MAP_FAILED)
    return refused();
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::uint8_t*>(data_), reserved_);
}

}  // namespace openbpu
