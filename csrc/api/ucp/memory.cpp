// The memory calls: a list of what is allocated, so that a wrong or freed block is recognised, and what tasks hold of
// it.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>

#include "api/ucp/fork_safe_mutex.hpp"
#include "api/ucp/ucp.hpp"

namespace openbpu::ucp {

struct Allocation {
  std::uint64_t size;
  int pins = 0;
};

namespace {

constexpr std::uint64_t kAlignment = 64;

// What orders accesses: thread sanitizers know no fences.
std::atomic<std::uint64_t> flushes{0};

struct MemoryTag;
using Lock = std::lock_guard<std::mutex>;
std::mutex& mutex() { return fork_safe_mutex<MemoryTag>(); }

using Allocations = std::map<std::uintptr_t, Allocation>;
Allocations& allocations() {
  static auto& all = *new Allocations;
  return all;
}

std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

// The allocation around the bytes, or the end of the list.
Allocations::iterator around(const void* address, std::uint64_t size) {
  Allocations& all = allocations();
  auto found = all.upper_bound(number(address));
  if (found == all.begin()) return all.end();
  --found;
  const std::uint64_t offset = number(address) - found->first;
  return offset <= found->second.size && size <= found->second.size - offset ? found : all.end();
}

std::int32_t allocate(const char* function, hbUCPSysMem* mem, std::uint64_t size, std::int32_t device) {
  return call(function, [&] {
    if (!mem) return fail(HB_UCP_INVALID_ARGUMENT, function, "mem is null");
    if (size == 0) return fail(HB_UCP_INVALID_ARGUMENT, function, "size is 0");
    if (device != 0) return fail(HB_UCP_INVALID_ARGUMENT, function, "there is only device 0");
    const std::uint64_t rounded = (size + kAlignment - 1) / kAlignment * kAlignment;
    void* memory = rounded < size || rounded > SIZE_MAX / 2 ? nullptr : std::aligned_alloc(kAlignment, rounded);
    if (!memory) return fail(HB_UCP_MEM_ALLOC_FAILED, function, std::to_string(size) + " bytes");
    std::memset(memory, 0, rounded);
    {
      Lock lock(mutex());
      allocations()[number(memory)] = {size};
    }
    *mem = {number(memory), memory, size};
    return std::int32_t{HB_UCP_SUCCESS};
  });
}

}  // namespace

Allocation* pin(const void* address, std::uint64_t size) {
  Lock lock(mutex());
  const auto found = around(address, size);
  if (found == allocations().end()) return nullptr;
  ++found->second.pins;
  return &found->second;
}

void unpin(Allocation* allocation) {
  Lock lock(mutex());
  --allocation->pins;
}

}  // namespace openbpu::ucp

using namespace openbpu::ucp;

int32_t hbUCPMalloc(hbUCPSysMem* mem, uint64_t size, int32_t deviceId) {
  return allocate("hbUCPMalloc", mem, size, deviceId);
}

int32_t hbUCPMallocCached(hbUCPSysMem* mem, uint64_t size, int32_t deviceId) {
  return allocate("hbUCPMallocCached", mem, size, deviceId);
}

int32_t hbUCPFree(hbUCPSysMem* mem) {
  return call("hbUCPFree", [&] {
    if (!mem || !mem->virAddr) return fail(HB_UCP_INVALID_ARGUMENT, "hbUCPFree", "mem or its address is null");
    {
      Lock lock(mutex());
      const auto found = allocations().find(number(mem->virAddr));
      if (found == allocations().end())
        return fail(HB_UCP_MEM_IS_INVALID, "hbUCPFree", "the address was not allocated, or is already freed");
      if (found->second.pins > 0)
        return fail(HB_UCP_MEM_FREE_FAILED, "hbUCPFree", "a task that has not ended uses the memory");
      allocations().erase(found);
    }
    std::free(mem->virAddr);
    return std::int32_t{HB_UCP_SUCCESS};
  });
}

int32_t hbUCPMemFlush(const hbUCPSysMem* mem, int32_t flag) {
  return call("hbUCPMemFlush", [&] {
    constexpr std::int32_t kBoth = HB_SYS_MEM_CACHE_INVALIDATE | HB_SYS_MEM_CACHE_CLEAN;
    if (!mem || !mem->virAddr) return fail(HB_UCP_INVALID_ARGUMENT, "hbUCPMemFlush", "mem or its address is null");
    if (flag <= 0 || (flag & ~kBoth) != 0)
      return fail(HB_UCP_INVALID_ARGUMENT, "hbUCPMemFlush",
                  "flag is INVALIDATE (1) or CLEAN (2); got " + std::to_string(flag));
    {
      Lock lock(mutex());
      if (around(mem->virAddr, mem->memSize) == allocations().end())
        return fail(HB_UCP_MEM_IS_INVALID, "hbUCPMemFlush", "the bytes do not lie in one live allocation");
    }
    flushes.fetch_add(1, std::memory_order_seq_cst);
    return std::int32_t{HB_UCP_SUCCESS};
  });
}
