// What the matrix cores of AVX-512 VNNI and AMX share: blocks as gemm_pack() of gemm_avx512vnni.hpp writes them, and
// the way from accumulators to stored bytes.
#pragma once

#include "kernels/x86/gemm_avx512vnni.hpp"

namespace openbpu::kernels::avx512 {

// A block as packed: this header, what each part adds where it is left out, i32[parts][64] in the order of the lanes,
// the offsets i32[steps] (rounded up to 64 bytes), then i8[vectors][16][4] per step.
struct Block {
  Channels64 constants;
  std::int32_t channels, steps, blocks, parts;
};

constexpr std::size_t kHeader = (sizeof(Block) + 63) / 64 * 64;

OPENBPU_INLINE std::size_t offsets_bytes(std::int32_t steps) { return align64(static_cast<std::size_t>(steps) * 4); }

// Bytes before the weights.
OPENBPU_INLINE std::size_t head_bytes(std::int32_t parts, std::int32_t steps) {
  return kHeader + static_cast<std::size_t>(parts) * 256 + offsets_bytes(steps);
}

// Every block takes the room of a full one, so that its place is known without a directory.
OPENBPU_INLINE std::size_t block_bytes(std::int32_t parts, std::int32_t steps) {
  return head_bytes(parts, steps) + static_cast<std::size_t>(steps) * kBlock * 4;
}

// One block of the packed ones.
struct PackedBlock {
  const Block* header;
  const std::int32_t* left_out;
  const std::int32_t* offsets;
  const std::int8_t* weights;
  std::size_t bytes;  // from one block to the next

  OPENBPU_INLINE PackedBlock at(const std::uint8_t* packed, std::int32_t index) {
    const auto& first = *reinterpret_cast<const Block*>(packed);  // parts and steps are equal in all blocks
    const std::size_t bytes = block_bytes(first.parts, first.steps);
    const std::uint8_t* block = packed + static_cast<std::size_t>(index) * bytes;
    const auto* left_out = reinterpret_cast<const std::int32_t*>(block + kHeader);
    return {reinterpret_cast<const Block*>(block), left_out, left_out + first.parts * kBlock,
            reinterpret_cast<const std::int8_t*>(block + head_bytes(first.parts, first.steps)), bytes};
  }

  // What accumulators start with, in the order of the lanes, where some parts are left out.
  __attribute__((always_inline)) void start_values(const GemmLines& lines, std::int32_t* start) const {
    for (std::int32_t q = 0; q < 4; ++q) {
      __m512i sum = load(header->constants.start + 16 * q);
      for (std::int32_t part = 0; part < header->parts; ++part)
        if (part < lines.first_part || part >= lines.end_part)
          sum = _mm512_add_epi32(sum, load(left_out + part * kBlock + 16 * q));
      _mm512_store_si512(start + 16 * q, sum);
    }
  }
};

// One pixel of up to 64 channels.
template <int D>
OPENBPU_INLINE void store4(std::uint8_t* out, Acc a0, Acc a1, Acc a2, Acc a3, const Epilogue<D>& e,
                           std::uint64_t mask) {
  _mm512_mask_storeu_epi8(out, mask, requantise64(a0, a1, a2, a3, e));
}

// Two pixels of 32 channels; the second is not stored unless Both.
template <bool Both, int D>
OPENBPU_INLINE void store2(std::uint8_t* out, std::uint8_t* second, Acc a0, Acc a1, Acc b0, Acc b1,
                           const Epilogue<D>& e, std::uint64_t mask) {
  const std::int32_t* s = e.channels.shift;
  const __m512i a = multiply(_mm512_packs_epi32(shift(a0, s), shift(a1, s + 16)), 0, e);
  const __m512i b = multiply(_mm512_packs_epi32(shift(b0, s), shift(b1, s + 16)), 0, e);
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  const __m512i y = _mm512_permutexvar_epi64(order, finish(_mm512_packs_epi16(a, b), e));
  _mm256_mask_storeu_epi8(out, static_cast<__mmask32>(mask), _mm512_castsi512_si256(y));
  if constexpr (Both) _mm256_mask_storeu_epi8(second, static_cast<__mmask32>(mask), _mm512_extracti64x4_epi64(y, 1));
}

// Four pixels of 16 channels, of which Count are stored. `first` is the block's first lane of the
// vector: 0 or 32.
template <int Count, int D>
OPENBPU_INLINE void store1(std::uint8_t* const* out, Acc a, Acc b, Acc c, Acc d, std::int32_t first,
                           const Epilogue<D>& e, std::uint64_t mask) {
  const std::int32_t* s = e.channels.shift + first;
  const __m512i ab = multiply(_mm512_packs_epi32(shift(a, s), shift(b, s)), first, e);
  const __m512i cd = multiply(_mm512_packs_epi32(shift(c, s), shift(d, s)), first, e);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i y = _mm512_permutexvar_epi32(order, finish(_mm512_packs_epi16(ab, cd), e));
  const auto lanes = static_cast<__mmask16>(mask);
  _mm_mask_storeu_epi8(out[0] + first, lanes, _mm512_castsi512_si128(y));
  if constexpr (Count > 1) _mm_mask_storeu_epi8(out[1] + first, lanes, _mm512_extracti32x4_epi32(y, 1));
  if constexpr (Count > 2) _mm_mask_storeu_epi8(out[2] + first, lanes, _mm512_extracti32x4_epi32(y, 2));
  if constexpr (Count > 3) _mm_mask_storeu_epi8(out[3] + first, lanes, _mm512_extracti32x4_epi32(y, 3));
}

}  // namespace openbpu::kernels::avx512
