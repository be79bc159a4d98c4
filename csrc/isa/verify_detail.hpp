// Pieces of the verifier: surfaces, constants, the common fields of an instruction, the rules of each operation.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "isa/verify.hpp"
#include "isa/wide.hpp"

namespace openbpu::isa::detail {

constexpr u64 kMaxElements = (u64{1} << 31) - 1;  // of a surface: products of extents stay int32 in kernels
constexpr u64 kMaxConstBytes = (u64{1} << 31) - 1;
constexpr i64 kMaxSpan = i64{1} << 20;         // rows or columns from the first to the last that the windows touch
constexpr u64 kMaxWindowBytes = u64{1} << 28;  // of the padded input rows under one row of outputs: kernels copy them
constexpr u64 kMaxPhases = u64{1} << 18;       // stride_h * stride_w * out.c of TCONV2D: kernels prepare each phase
constexpr u64 kMaxTaps = u64{1} << 24;         // sums over a window stay far below int64

inline Status illegal(std::string where, std::string rule) {
  return {Code::Illegal, std::move(where), std::move(rule)};
}

inline Status illegal(std::string where, const char* rule, i64 seen) {
  return illegal(std::move(where), std::string(rule) + "; it is " + std::to_string(seen));
}

constexpr u64 magnitude(i64 value) { return value < 0 ? u64{0} - static_cast<u64>(value) : static_cast<u64>(value); }

// ---- surfaces (verify_surface.cpp)

// Strides, extents and quantisation of a surface on its own. Extents are 1..65535.
Status check_surface(const Surface& surface, const std::string& where);

Status check_zero_point(i32 zero_point, DType type, const std::string& where);

// Bytes from base to one past the last element.
u64 surface_reach(const Surface& surface);

// True only if no two elements share a byte.
bool is_injective(const Surface& surface);

// False only if the surfaces share no byte; exact for channel, column and row slices of one buffer.
bool may_overlap(const Surface& a, const Surface& b);

bool same_extents(const Surface& a, const Surface& b);

// ---- constants (verify_const.cpp)

// Bounds, size and padding of an item, and what its format demands of the values.
Status check_const(const Const& item, const Sections& sections, const std::string& where);

template <class T>
const T* items(const Const& item, const Sections& sections) {
  return reinterpret_cast<const T*>(sections.constants.data() + item.offset);
}

// What instructions ask again and again of checked constants; each is found once, so that verification is linear in
// the file even if a thousand stripes share their weights.
class Facts {
 public:
  explicit Facts(const Sections& sections);

  // Weights that an output channel of CONV_WEIGHTS or DW_WEIGHTS has, less than 2^31.
  u64 weights_per_channel(u16 id) const;
  // Sum of |w| per output channel of CONV_WEIGHTS (group-major) or DW_WEIGHTS.
  const std::vector<u64>& weight_magnitudes(u16 id);
  // Largest source index of a RESIZE table.
  i32 last_index(u16 id);
  // Overflow proofs that have succeeded: weights, table and L.
  bool is_proved(u16 weight, u16 table, u8 L) const { return proved_.count(key(weight, table, L)) != 0; }
  void set_proved(u16 weight, u16 table, u8 L) { proved_.insert(key(weight, table, L)); }

 private:
  static u64 key(u16 weight, u16 table, u8 L) { return u64{weight} | u64{table} << 16 | u64{L} << 32; }

  const Sections& sections_;
  std::vector<std::vector<u64>> magnitudes_;
  std::vector<i32> last_index_;
  std::unordered_set<u64> proved_;
};

// ---- instructions

// An instruction with its operands. Accessors other than uses() need ids that check_word() has accepted.
struct Word {
  const Instruction& i;
  const InstructionInfo& info;
  const Entry& entry;
  const Sections& sections;
  const std::string& where;

  bool wide() const { return is_wide(i, sections.surfaces); }
  bool uses(Operand bit) const { return (operands_of(info, wide()) & bit) != 0; }
  const Surface& in0() const { return sections.surfaces[i.in0]; }
  const Surface& in1() const { return sections.surfaces[i.in1]; }
  const Surface& in2() const { return sections.surfaces[i.in2]; }
  const Surface& out() const { return sections.surfaces[i.out]; }
  const Const& weight() const { return sections.consts[i.weight]; }
  const Const& table() const { return sections.consts[i.table]; }
  template <class Record>
  const Record& aux() const {
    return *reinterpret_cast<const Record*>(sections.aux.data() + i.aux);
  }

  Status fail(const char* rule) const { return illegal(where, rule); }
  Status fail(const char* rule, i64 seen) const { return illegal(where, rule, seen); }
  Status field(const char* name, const char* rule) const { return illegal(where + ", field " + name, rule); }
  Status field(const char* name, const char* rule, i64 seen) const {
    return illegal(where + ", field " + name, rule, seen);
  }
};

inline Region region(const Surface& s) { return static_cast<Region>(s.region); }
inline DType dtype(const Surface& s) { return static_cast<DType>(s.dtype); }
inline bool is_caller_memory(const Surface& s) { return region(s) == Region::In || region(s) == Region::Out; }

// What holds for all operations: ids, places, unused fields, operator record, box, overlap (verify_word.cpp).
Status check_word(const Word& word);

// Bytes of a region; the port exists.
u64 region_bytes(const Word& word, Region region, u8 port);

// The rules of CPUCALL (verify_cpu.cpp). The word has passed check_word().
Status check_cpu_call(const Word& word);

// Rolling operands hold the rows that the box needs, and the box of a rolling result is one piece (verify_word.cpp).
// The word has passed check_operation().
Status check_rolls(const Word& word);

// The rules of the operation (verify_operation.cpp). The word has passed check_word().
Status check_operation(const Word& word, Facts& facts);

}  // namespace openbpu::isa::detail
