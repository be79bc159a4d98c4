#include "engine/host_form.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <queue>

#include "engine/host_arena.hpp"
#include "engine/ledger.hpp"
#include "isa/cpu_call.hpp"
#include "isa/verify_detail.hpp"

namespace openbpu::engine {
namespace {

using isa::Access;
using isa::Instruction;
using isa::Op;
using isa::Region;
using isa::Surface;

constexpr std::size_t kMostInstructions = std::size_t{1} << 16;
constexpr std::uint64_t kMostWork = std::uint64_t{1} << 25;  // about a second
constexpr std::uint64_t kLeastArena = std::uint64_t{64} << 20, kMostArena = std::uint64_t{8} << 30;
constexpr std::size_t kMostComparisons = std::size_t{1} << 24;

Region region(const Surface& s) { return static_cast<Region>(s.region); }
bool in_arena(const Surface& s) { return region(s) == Region::Ddr || region(s) == Region::Sram; }
bool is_move(Op op) { return op == Op::LOAD || op == Op::STORE || op == Op::COPY; }

bool names_homes(const isa::Entry& entry, const isa::Sections& s) {
  if (entry.sram_bytes == 0 || entry.instructions > kMostInstructions) return false;
  return std::any_of(s.surfaces.begin(), s.surfaces.end(), [](const Surface& x) { return x.home != 0; });
}

// A copy of elements of a logical tensor to another place of theirs.
bool is_copy_of_itself(const Instruction& i, const isa::Sections& s) {
  return is_move(static_cast<Op>(i.op)) && s.surfaces[i.in0].home != 0 &&
         s.surfaces[i.in0].home == s.surfaces[i.out].home;
}

// Whether each operand holds what its home names, all through the program.
bool is_proved(const isa::Entry& entry, const isa::Sections& s, const HomeBuffers& buffers) {
  Ledger ledger(buffers.starts());
  std::vector<Access> touched;
  std::uint64_t work = 0;
  for (std::uint32_t k = 0; k < entry.instructions; ++k) {
    const Instruction& i = s.code[entry.first_instruction + k];
    if (static_cast<Op>(i.op) == Op::TRAP) return false;
    isa::accesses(i, s, touched);
    for (const Access& a : touched) {
      if (!in_arena(a.bytes)) continue;
      if (!a.has_home || (region(a.home) == Region::Home && !buffers.contains(a.home))) return false;
      if (a.write ? region(a.home) == Region::Home && !isa::detail::is_injective(a.home)
                  : !ledger.holds(a.bytes, a.home))
        return false;
    }
    const bool copies = static_cast<Op>(i.op) == Op::LDW || is_copy_of_itself(i, s);
    for (const Access& a : touched)
      if (a.write && in_arena(a.bytes)) copies ? ledger.copied(a.bytes, a.home) : ledger.written(a.bytes, a.home);
    work += 64 * touched.size();  // they are kept for all groups at once
    if (ledger.work() + work > kMostWork) return false;
  }
  return true;
}

// Instructions that differ in nothing but box, waits and the copies that they work on.
struct Group {
  Instruction whole;
  std::uint32_t first, last;  // in the entry
  std::vector<std::uint32_t> members;
};

std::uint16_t home_of(std::uint16_t id, const isa::Sections& s) {
  return s.surfaces[id].home ? static_cast<std::uint16_t>(s.surfaces[id].home - 1) : id;
}

Instruction at_home(Instruction i, const isa::Sections& s) {
  const isa::InstructionInfo& info = *isa::find_instruction(i.op);
  if (info.operands & isa::A) i.in0 = home_of(i.in0, s);
  if (info.operands & isa::B) i.in1 = home_of(i.in1, s);
  if (info.operands & isa::O) i.out = home_of(i.out, s);
  if (info.operands & isa::M) i.in2 = home_of(i.in2, s);
  if (info.operands & isa::W) i.in1 = isa::kNoId;
  std::fill(i.wait, i.wait + 4, 0u);
  i.flags = static_cast<std::uint8_t>(i.flags & ~static_cast<std::uint8_t>(isa::Flag::DDR_OPERAND));
  if (static_cast<Op>(i.op) == Op::LOAD || static_cast<Op>(i.op) == Op::STORE)
    i.op = static_cast<std::uint8_t>(Op::COPY);
  return i;
}

struct Span1 {
  std::uint32_t begin, end;
};
struct Extent {
  Span1 axis[3];
  explicit Extent(const Instruction& i)
      : axis{{i.box_y, u(i.box_y) + i.box_h}, {i.box_x, u(i.box_x) + i.box_w}, {i.box_c, u(i.box_c) + i.box_n}} {}
  static std::uint32_t u(std::uint16_t v) { return v; }
  std::uint64_t volume() const {
    std::uint64_t v = 1;
    for (const Span1& a : axis) v *= a.end - a.begin;
    return v;
  }
  bool meets(const Extent& o) const {
    for (int d = 0; d < 3; ++d)
      if (axis[d].end <= o.axis[d].begin || o.axis[d].end <= axis[d].begin) return false;
    return true;
  }
};

// Gives `group` the box that its members tile; false if they tile none.
bool join_boxes(Group& group, const isa::Sections& s, const isa::Entry& entry) {
  if (group.members.size() == 1) return true;
  std::vector<Extent> boxes;
  for (std::uint32_t k : group.members) boxes.emplace_back(s.code[entry.first_instruction + k]);
  std::sort(boxes.begin(), boxes.end(), [](const Extent& a, const Extent& b) {
    return std::make_pair(a.axis[0].begin, a.axis[2].begin) < std::make_pair(b.axis[0].begin, b.axis[2].begin);
  });
  Extent all = boxes.front();
  std::uint64_t volume = 0;
  for (const Extent& box : boxes) {
    volume += box.volume();
    for (int d = 0; d < 3; ++d) {
      all.axis[d].begin = std::min(all.axis[d].begin, box.axis[d].begin);
      all.axis[d].end = std::max(all.axis[d].end, box.axis[d].end);
    }
  }
  if (volume != all.volume()) return false;
  for (std::size_t a = 0; a < boxes.size(); ++a)
    for (std::size_t b = a + 1; b < boxes.size() && boxes[b].axis[0].begin < boxes[a].axis[0].end; ++b)
      if (boxes[a].meets(boxes[b])) return false;
  Instruction& w = group.whole;
  w.box_y = static_cast<std::uint16_t>(all.axis[0].begin);
  w.box_h = static_cast<std::uint16_t>(all.axis[0].end - all.axis[0].begin);
  w.box_x = static_cast<std::uint16_t>(all.axis[1].begin);
  w.box_w = static_cast<std::uint16_t>(all.axis[1].end - all.axis[1].begin);
  w.box_c = static_cast<std::uint16_t>(all.axis[2].begin);
  w.box_n = static_cast<std::uint16_t>(all.axis[2].end - all.axis[2].begin);
  return true;
}

std::vector<Group> groups_of(const isa::Entry& entry, const isa::Sections& s) {
  std::vector<Group> groups;
  std::map<std::string, std::size_t> known;
  for (std::uint32_t k = 0; k < entry.instructions; ++k) {
    const Instruction& i = s.code[entry.first_instruction + k];
    const isa::InstructionInfo& info = *isa::find_instruction(i.op);
    if (info.queue == isa::Queue::Ctrl || info.op == Op::LDW || is_copy_of_itself(i, s)) continue;
    const Instruction home = at_home(i, s);
    Instruction key = home;
    if (info.op != Op::CPUCALL) key.box_y = key.box_h = key.box_x = key.box_w = key.box_c = key.box_n = 0;
    std::string text(reinterpret_cast<const char*>(&key), sizeof key);
    if (info.op == Op::CPUCALL) text += std::to_string(k);
    const auto found = known.emplace(std::move(text), groups.size());
    if (found.second) groups.push_back({home, k, k, {}});
    Group& group = groups[found.first->second];
    group.last = k;
    group.members.push_back(k);
  }
  std::vector<Group> joined;
  for (Group& group : groups) {
    if (join_boxes(group, s, entry)) {
      joined.push_back(std::move(group));
      continue;
    }
    for (std::uint32_t k : group.members)
      joined.push_back({at_home(s.code[entry.first_instruction + k], s), k, k, {k}});
  }
  std::sort(joined.begin(), joined.end(), [](const Group& a, const Group& b) { return a.first < b.first; });
  return joined;
}

// Accesses with their homes as places.
std::vector<Access> home_accesses(const Instruction& i, const isa::Sections& s) {
  std::vector<Access> touched;
  isa::accesses(i, s, touched);
  for (Access& a : touched)
    if (a.has_home) a.bytes = a.home;
  return touched;
}

bool conflict(const std::vector<Access>& a, const std::vector<Access>& b) {
  for (const Access& x : a)
    for (const Access& y : b)
      if ((x.write || y.write) && isa::detail::may_overlap(x.bytes, y.bytes)) return true;
  return false;
}

// The order of the groups: dependences between instructions, found where groups touch the same bytes.
class Order {
 public:
  Order(const std::vector<Group>& groups, const isa::Entry& entry, const isa::Sections& s)
      : groups_(groups), entry_(entry), s_(s), followers_(groups.size()), waiting_(groups.size(), 0) {}

  // Fails where stripes depend on one another in both directions.
  bool find(std::vector<std::size_t>& order) {
    for (const Group& group : groups_) touched_.push_back(touched_by(group));
    for (std::size_t a = 0; a < groups_.size(); ++a)
      for (std::size_t b = a + 1; b < groups_.size(); ++b)
        if (comparisons_ > kMostComparisons || !relate(a, b)) return false;
    std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
    for (std::size_t k = 0; k < groups_.size(); ++k)
      if (waiting_[k] == 0) ready.push(k);
    while (!ready.empty()) {
      const std::size_t k = ready.top();
      ready.pop();
      order.push_back(k);
      for (std::size_t next : followers_[k])
        if (--waiting_[next] == 0) ready.push(next);
    }
    return order.size() == groups_.size();
  }

 private:
  const Instruction& code(std::uint32_t k) const { return s_.code[entry_.first_instruction + k]; }

  std::vector<Access> touched_by(const Group& group) const {
    if (group.members.size() == 1) return home_accesses(code(group.members[0]), s_);
    isa::Sections at_home = s_;
    return home_accesses(group.whole, at_home);
  }

  void precede(std::size_t a, std::size_t b) {
    followers_[a].push_back(b);
    ++waiting_[b];
  }

  bool relate(std::size_t a, std::size_t b) {
    comparisons_ += touched_[a].size() * touched_[b].size() + 1;
    if (!conflict(touched_[a], touched_[b])) return true;
    if (groups_[a].last < groups_[b].first) return precede(a, b), true;
    bool forward = false, backward = false;
    for (std::uint32_t i : groups_[a].members)
      for (std::uint32_t j : groups_[b].members) {
        if (i < j ? forward : backward) continue;
        comparisons_ += member(i).size() * member(j).size();
        if (comparisons_ > kMostComparisons) return false;
        if (conflict(member(i), member(j))) (i < j ? forward : backward) = true;
      }
    if (forward && backward) return false;
    if (forward) precede(a, b);
    if (backward) precede(b, a);
    return true;
  }

  const std::vector<Access>& member(std::uint32_t k) {
    const auto found = members_.find(k);
    if (found != members_.end()) return found->second;
    return members_.emplace(k, home_accesses(code(k), s_)).first->second;
  }

  const std::vector<Group>& groups_;
  const isa::Entry& entry_;
  const isa::Sections& s_;
  std::vector<std::vector<Access>> touched_;
  std::map<std::uint32_t, std::vector<Access>> members_;
  std::vector<std::vector<std::size_t>> followers_;
  std::vector<std::size_t> waiting_;
  std::size_t comparisons_ = 0;
};

// Operands of CPUCALLs move with their homes.
bool move_calls(HostForm& form, const isa::Sections& s, const HomeBuffers& buffers) {
  for (const Instruction& i : form.code) {
    if (static_cast<Op>(i.op) != Op::CPUCALL) continue;
    const Result<isa::CpuCall> decoded = isa::decode_cpu_call(i, s, "");
    if (!decoded.ok()) return false;
    const auto offset =
        static_cast<std::size_t>(reinterpret_cast<const std::uint8_t*>(decoded.value().records) - s.aux.data());
    auto* records = reinterpret_cast<isa::CpuTensor*>(form.aux.data() + offset);
    for (std::size_t k = 0; k < decoded.value().tensors.size(); ++k) {
      const isa::CpuTensor& before = decoded.value().records[k];
      if (before.home == 0) continue;
      records[k].region = static_cast<std::uint8_t>(Region::Ddr);
      records[k].base = buffers.address(s.surfaces[before.home - 1].base);
      records[k].home = 0;
    }
  }
  return true;
}

}  // namespace

isa::Sections HostForm::sections(const isa::Sections& program) const {
  isa::Sections result = program;
  result.surfaces = surfaces;
  result.code = code;
  result.aux = aux;
  return result;
}

std::optional<HostForm> find_host_form(const isa::Entry& entry, const isa::Sections& s) {
  if (!names_homes(entry, s)) return std::nullopt;
  HomeBuffers buffers(s.surfaces);
  if (!is_proved(entry, s, buffers)) return std::nullopt;
  const std::vector<Group> groups = groups_of(entry, s);
  std::vector<std::size_t> order;
  if (!Order(groups, entry, s).find(order)) return std::nullopt;
  HostForm form;
  form.surfaces.assign(s.surfaces.begin(), s.surfaces.end());
  form.aux.assign(s.aux.begin(), s.aux.end());
  for (std::size_t k : order) {
    for (const Access& a : home_accesses(groups[k].whole, s))
      if (region(a.bytes) == Region::Home) buffers.use(a.bytes.base, form.code.size());
    form.code.push_back(groups[k].whole);
    form.index.push_back(groups[k].last);
  }
  const std::uint64_t own = entry.ddr_bytes + entry.sram_bytes;
  if (!buffers.place(std::max(own, std::min(64 * own + kLeastArena, kMostArena)))) return std::nullopt;
  form.bytes = buffers.bytes();
  for (Surface& surface : form.surfaces) {
    if (region(surface) != Region::Home) continue;
    surface.base = buffers.address(surface.base);
    surface.region = static_cast<std::uint8_t>(Region::Ddr);
  }
  if (!move_calls(form, s, buffers)) return std::nullopt;
  return form;
}

}  // namespace openbpu::engine
