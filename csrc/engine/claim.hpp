// What one thread at a time may do.
#pragma once

#include <atomic>
#include <cstdint>

#include "engine/fork.hpp"

namespace openbpu::engine {

// Whether some thread does it, and in which process it began.
class Claim {
 public:
  // Holds the claim for its lifetime, if it was free.
  class Hold {
   public:
    explicit Hold(Claim& claim) : claim_(claim), before_(0), now_(fork_epoch()) {
      holds_ = claim.holder_.compare_exchange_strong(before_, now_, std::memory_order_acquire);
    }
    ~Hold() {
      if (holds_) claim_.holder_.store(0, std::memory_order_release);
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

    bool ok() const { return holds_; }
    // Not ok(), and will never be: whoever has it is a thread of the process that this one was forked from.
    bool is_lost() const { return !holds_ && before_ != now_; }

   private:
    Claim& claim_;
    std::uint32_t before_;
    const std::uint32_t now_;
    bool holds_;
  };

 private:
  std::atomic<std::uint32_t> holder_{0};  // 0, or the epoch
};

}  // namespace openbpu::engine
