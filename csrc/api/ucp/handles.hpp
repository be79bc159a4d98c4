// Handles that can be checked: a number made of a slot, what kind of thing it names and how often the slot was used, so
// that a stale, foreign or invented one is recognised without touching memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace openbpu::ucp {

enum class HandleKind : std::uintptr_t { Task = 1, PackedModels = 2, Model = 3 };

// Not synchronised. Slots are kept and reused; a thing in a slot keeps what it has allocated.
template <class Thing>
class Handles {
 public:
  Handles(HandleKind kind, std::size_t limit) : kind_(kind), limit_(limit) {}

  // A slot whose thing is_free(thing), and its new handle; null if all are taken.
  template <class IsFree>
  Thing* take(void*& handle, IsFree is_free) {
    for (std::size_t tries = 0; tries < slots_.size(); ++tries) {
      next_ = (next_ + 1) % slots_.size();
      Slot& slot = slots_[next_];
      if (slot.taken || !is_free(*slot.thing)) continue;
      slot.taken = true;
      ++slot.uses;
      handle = handle_of(next_);
      return slot.thing.get();
    }
    if (slots_.size() == limit_) return nullptr;
    slots_.push_back({std::make_unique<Thing>(), 1, true});
    handle = handle_of(slots_.size() - 1);
    return slots_.back().thing.get();
  }

  // Null for what is no live handle of this table.
  Thing* find(void* handle) const {
    const auto number = reinterpret_cast<std::uintptr_t>(handle);
    const std::size_t index = number >> kKindBits & ((1u << kIndexBits) - 1);
    if (index >= slots_.size() || !slots_[index].taken || handle != handle_of(index)) return nullptr;
    return slots_[index].thing.get();
  }

  // The handle must be live.
  void release(void* handle) {
    slots_[reinterpret_cast<std::uintptr_t>(handle) >> kKindBits & ((1u << kIndexBits) - 1)].taken = false;
  }

 private:
  static constexpr int kKindBits = 2, kIndexBits = 12;

  struct Slot {
    std::unique_ptr<Thing> thing;
    std::uintptr_t uses;
    bool taken;
  };

  void* handle_of(std::size_t index) const {
    return reinterpret_cast<void*>(slots_[index].uses << (kIndexBits + kKindBits) | index << kKindBits |
                                   static_cast<std::uintptr_t>(kind_));
  }

  const HandleKind kind_;
  const std::size_t limit_;  // at most 4096
  std::vector<Slot> slots_;
  std::size_t next_ = 0;
};

}  // namespace openbpu::ucp
