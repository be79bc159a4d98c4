// The golden file of version 1, which holds every instruction, as a starting point for damage.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "container/layout.hpp"
#include "container/program.hpp"
#include "isa/reflect.hpp"

namespace openbpu::testing {

using Bytes = std::vector<std::uint8_t>;

// Names the instances of a test by the member `name` of their parameters.
template <class T>
std::string name_of(const ::testing::TestParamInfo<T>& info) {
  return info.param.name;
}

inline Bytes golden_file(const char* name = "/v1.bpux") {
  std::ifstream file(std::string(OPENBPU_GOLDEN) + name, std::ios::binary);
  Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  EXPECT_FALSE(bytes.empty()) << OPENBPU_GOLDEN << name;
  return bytes;
}

template <class T>
std::vector<T> to_vector(Span<const T> span) {
  return {span.begin(), span.end()};
}

inline container::Parts parts_of(const container::Program& p) {
  return {to_vector(p.entries()), to_vector(p.ports()), to_vector(p.surfaces()),  to_vector(p.consts()),
          to_vector(p.code()),    to_vector(p.aux()),   to_vector(p.constants()), to_vector(p.sections().strings),
          std::string(p.meta())};
}

inline container::Parts golden_parts() {
  auto program = container::Program::read(golden_file());
  EXPECT_TRUE(program.ok()) << program.status().where() << ": " << program.status().message();
  return parts_of(*program.value());
}

// Changes records of a program without touching what other records share.
struct Editor {
  container::Parts& parts;

  // The n-th instruction of that operation.
  isa::Instruction& code(isa::Op op, int n = 0) {
    for (isa::Instruction& i : parts.code)
      if (i.op == static_cast<std::uint8_t>(op) && n-- == 0) return i;
    ADD_FAILURE() << "the golden file lacks operation " << static_cast<int>(op);
    return parts.code.front();
  }

  // A copy of its own of the surface that `id` names.
  isa::Surface& surface(std::uint16_t& id) {
    parts.surfaces.push_back(isa::Surface(parts.surfaces[id]));
    id = static_cast<std::uint16_t>(parts.surfaces.size() - 1);
    return parts.surfaces.back();
  }
  isa::Surface& in0(isa::Op op, int n = 0) { return surface(code(op, n).in0); }
  isa::Surface& in1(isa::Op op, int n = 0) { return surface(code(op, n).in1); }
  isa::Surface& out(isa::Op op, int n = 0) { return surface(code(op, n).out); }

  // A copy of its own of the constant that `id` names: record and bytes.
  isa::Const& constant(std::uint16_t& id) {
    isa::Const item = parts.consts[id];
    const Bytes bytes(parts.constants.begin() + static_cast<std::ptrdiff_t>(item.offset),
                      parts.constants.begin() + static_cast<std::ptrdiff_t>(item.offset + item.size));
    parts.constants.resize((parts.constants.size() + 63) / 64 * 64);
    item.offset = parts.constants.size();
    parts.constants.insert(parts.constants.end(), bytes.begin(), bytes.end());
    parts.consts.push_back(item);
    id = static_cast<std::uint16_t>(parts.consts.size() - 1);
    return parts.consts.back();
  }
  std::uint8_t* bytes(const isa::Const& item) { return parts.constants.data() + item.offset; }
  template <class T>
  T* table(isa::Op op, int n = 0) {
    return reinterpret_cast<T*>(bytes(constant(code(op, n).table)));
  }

  // A copy of its own of the operator record.
  template <class Record>
  Record& aux(isa::Op op, int n = 0) {
    isa::Instruction& i = code(op, n);
    const std::size_t end = parts.aux.size(), size = (sizeof(Record) + 7) / 8 * 8;
    parts.aux.resize(end + size);
    std::memcpy(&parts.aux[end], &parts.aux[i.aux], size);
    i.aux = static_cast<std::uint32_t>(end);
    return *reinterpret_cast<Record*>(&parts.aux[end]);
  }
};

}  // namespace openbpu::testing
