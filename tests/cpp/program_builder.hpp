// Builds small programs by hand.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "container/program.hpp"
#include "isa/reflect.hpp"

namespace openbpu::testing {

using Extents = std::array<std::uint32_t, 4>;  // n, h, w, c

class ProgramBuilder {
 public:
  ProgramBuilder() { string("net"); }

  std::uint8_t input(Extents shape, isa::DType type = isa::DType::I8) { return port(0, inputs_, shape, type); }
  std::uint8_t output(Extents shape, isa::DType type = isa::DType::I8) { return port(1, outputs_, shape, type); }

  std::uint16_t surface(isa::Region region, Extents e, std::uint64_t base = 0, std::uint8_t port = 0,
                        isa::DType type = isa::DType::I8, int zero_point = 0, double scale = 0) {
    const auto size = static_cast<std::uint32_t>(isa::element_size(type));
    isa::Surface s{};
    s.region = static_cast<std::uint8_t>(region);
    s.dtype = static_cast<std::uint8_t>(type);
    s.port = port;
    s.base = base;
    s.n = e[0], s.h = e[1], s.w = e[2], s.c = e[3];
    s.stride_c = size, s.stride_w = size * s.c, s.stride_h = s.stride_w * s.w, s.stride_n = s.stride_h * s.h;
    s.zero_point = zero_point;
    s.scale = scale;
    parts_.surfaces.push_back(s);
    return static_cast<std::uint16_t>(parts_.surfaces.size() - 1);
  }

  std::uint16_t constant(isa::Format format, const std::vector<std::uint8_t>& bytes,
                         const std::vector<std::uint32_t>& dims) {
    parts_.constants.resize((parts_.constants.size() + 63) / 64 * 64);
    isa::Const item{};
    item.offset = parts_.constants.size();
    item.size = bytes.size();
    item.format = static_cast<std::uint8_t>(format);
    std::copy(dims.begin(), dims.end(), item.dims);
    parts_.consts.push_back(item);
    parts_.constants.insert(parts_.constants.end(), bytes.begin(), bytes.end());
    return static_cast<std::uint16_t>(parts_.consts.size() - 1);
  }

  // Random weights of a convolution with one group, zero padded.
  std::uint16_t conv_weights(std::uint32_t co, std::uint32_t taps, std::uint32_t ci, std::mt19937& random) {
    const std::uint32_t quads = (ci + 3) / 4;
    std::vector<std::uint8_t> bytes(std::size_t{(co + 15) / 16} * taps * quads * 64);
    for (std::uint32_t o = 0; o < co; ++o)
      for (std::uint32_t tap = 0; tap < taps; ++tap)
        for (std::uint32_t i = 0; i < ci; ++i)
          bytes[((std::size_t{o} / 16 * taps + tap) * quads + i / 4) * 64 + o % 16 * 4 + i % 4] =
              static_cast<std::uint8_t>(random() % 255 - 127);
    return constant(isa::Format::CONV_WEIGHTS, bytes, {1, co, taps, ci});
  }

  // RQ8 parameters that spread sums of some hundred products over int8.
  std::uint16_t rq8(std::uint32_t channels, std::mt19937& random) {
    const std::size_t padded = (std::size_t{channels} + 15) / 16 * 16;
    std::vector<std::uint8_t> bytes(padded * 7);
    for (std::size_t c = 0; c < padded; ++c) {
      const bool used = c < channels;
      const auto B = used ? static_cast<std::int32_t>(random() % 2000) - 1000 : 0;
      const auto m = static_cast<std::int16_t>(used ? 16384 + random() % 16000 : 16384);
      std::memcpy(&bytes[c * 4], &B, 4);
      std::memcpy(&bytes[padded * 4 + c * 2], &m, 2);
      bytes[padded * 6 + c] = used ? 2 : 0;
    }
    return constant(isa::Format::RQ8, bytes, {channels});
  }

  template <class Record>
  std::uint32_t aux(const Record& record) {
    const auto offset = static_cast<std::uint32_t>(parts_.aux.size());
    parts_.aux.resize(offset + (sizeof record + 7) / 8 * 8);
    std::memcpy(&parts_.aux[offset], &record, sizeof record);
    return offset;
  }

  // An instruction without operands; `change` sets them. The box is all of out unless set.
  template <class Change>
  void emit(isa::Op op, Change change) {
    isa::Instruction i{};
    i.op = static_cast<std::uint8_t>(op);
    i.in0 = i.in1 = i.out = i.weight = i.table = isa::kNoId;
    i.aux = isa::kNoAux;
    change(i);
    if (i.out != isa::kNoId && i.box_h == 0) {
      const isa::Surface& out = parts_.surfaces[i.out];
      i.box_h = static_cast<std::uint16_t>(out.h);
      i.box_w = static_cast<std::uint16_t>(out.w);
      i.box_n = static_cast<std::uint16_t>(out.c);
    }
    for (std::uint16_t id : {i.in0, i.in1, i.out}) {
      if (id == isa::kNoId) continue;
      const auto region = static_cast<isa::Region>(parts_.surfaces[id].region);
      if (region != isa::Region::Sram && region != isa::Region::Const)
        i.flags |= static_cast<std::uint8_t>(isa::Flag::DDR_OPERAND);
    }
    parts_.code.push_back(i);
  }
  void emit(isa::Op op) {
    emit(op, [](isa::Instruction&) {});
  }
  void move(isa::Op op, std::uint16_t out, std::uint16_t in) {
    emit(op, [&](isa::Instruction& i) { i.out = out, i.in0 = in; });
  }

  // Appends END; null, with a failed expectation, if the verifier refuses the program.
  std::shared_ptr<const container::Program> finish(std::uint64_t ddr, std::uint64_t sram = 0) {
    emit(isa::Op::END);
    parts_.ports = inputs_;
    parts_.ports.insert(parts_.ports.end(), outputs_.begin(), outputs_.end());
    isa::Entry entry{};
    entry.instructions = static_cast<std::uint32_t>(parts_.code.size());
    entry.inputs = static_cast<std::uint32_t>(inputs_.size());
    entry.outputs = static_cast<std::uint32_t>(outputs_.size());
    entry.ddr_bytes = ddr;
    entry.sram_bytes = sram;
    parts_.entries = {entry};
    auto result = container::Program::read(container::write(parts_));
    EXPECT_TRUE(result.ok()) << result.status().where() << ": " << result.status().message();
    return result.value();
  }

 private:
  void string(const std::string& text) {
    for (char c : text) parts_.strings.push_back(static_cast<std::uint8_t>(c));
    parts_.strings.push_back(0);
  }

  std::uint8_t port(std::uint8_t direction, std::vector<isa::Port>& ports, Extents shape, isa::DType type) {
    isa::Port p{};
    p.direction = direction;
    p.dtype = static_cast<std::uint8_t>(type);
    p.rank = 4;
    p.bytes = isa::element_size(type);
    for (std::size_t k = 0; k < 4; ++k) p.bytes *= p.shape[k] = shape[k];
    p.name = static_cast<std::uint32_t>(parts_.strings.size());
    const std::string name = (direction == 0 ? "x" : "y") + std::to_string(ports.size());
    string(name);
    ports.push_back(p);
    return static_cast<std::uint8_t>(ports.size() - 1);
  }

  container::Parts parts_;
  std::vector<isa::Port> inputs_, outputs_;
};

}  // namespace openbpu::testing
