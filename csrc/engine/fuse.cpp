#include "engine/fuse.hpp"

namespace openbpu::engine {
namespace {

using kernels::View;

bool same(const View& a, const View& b) {
  return a.data == b.data && a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c && a.sn == b.sn && a.sh == b.sh &&
         a.sw == b.sw && a.sc == b.sc;
}

bool same_extents(const View& a, const View& b) { return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c; }

const std::uint8_t* end_of(const View& v) {
  return v.data + (v.n - 1) * v.sn + (v.h - 1) * v.sh + (v.w - 1) * v.sw + (v.c - 1) * v.sc + 1;
}

bool overlap(const View& a, const View& b) { return a.data < end_of(b) && b.data < end_of(a); }

bool rows_end_to_end(const View& v) { return v.sh == v.w * v.sw; }

// A step and the element-wise steps that follow it.
class FusedStep final : public Step {
 public:
  explicit FusedStep(std::unique_ptr<Step> first) : first_(std::move(first)) {
    plan = first_->plan;
    info = first_->info;
    position = first_->position;
    threaded = first_->threaded;
    const Operands o = first_->operands();
    reads_.push_back(o.in[0]);
    writes_.push_back(o.out);
  }

  bool takes(const Step& next) const {
    const kernels::Region region = first_->region(0);
    if (!next.is_elementwise() || !next.ports.empty() || next.stops) return false;
    if (region.channels != writes_.front().c) return false;  // pieces of pixels would be slower than a pass of its own
    const Operands o = next.operands();
    if (overlap(o.out, reads_.front())) return false;  // other units may still read there: their windows reach further
    bool continues = false;
    for (int i = 0; i < o.inputs; ++i) {
      continues = continues || same(o.in[i], writes_.back());
      if (!same_extents(o.in[i], o.out) || !independent(o.in[i], writes_)) return false;
    }
    if (!continues || !independent(o.out, reads_) || !independent(o.out, writes_)) return false;
    return !region.flat ||
           (rows_end_to_end(o.out) && rows_end_to_end(o.in[0]) && (o.inputs == 1 || rows_end_to_end(o.in[1])));
  }

  void take(std::unique_ptr<Step> next) {
    const Operands o = next->operands();
    for (int i = 0; i < o.inputs; ++i) reads_.push_back(o.in[i]);
    writes_.push_back(o.out);
    followers_.push_back(std::move(next));
  }

  std::unique_ptr<Step> release() { return std::move(first_); }
  bool alone() const { return followers_.empty(); }

  void run(std::uint8_t* scratch, std::int32_t begin, std::int32_t end) const override {
    for (std::int32_t unit = begin; unit < end; ++unit) {
      first_->run(scratch, unit, unit + 1);
      const kernels::Region region = first_->region(unit);
      for (const auto& follower : followers_) follower->run_region(region);
    }
  }

 private:
  static bool independent(const View& view, const std::vector<View>& others) {
    for (const View& other : others)
      if (overlap(view, other) && !same(view, other)) return false;
    return true;
  }

  std::unique_ptr<Step> first_;
  std::vector<std::unique_ptr<Step>> followers_;
  std::vector<View> reads_, writes_;
};

}  // namespace

void fuse(std::vector<std::unique_ptr<Step>>& steps, std::vector<StepInfo>& infos) {
  std::vector<std::unique_ptr<Step>> fused;
  for (std::size_t k = 0; k < steps.size(); ++k) {
    if (!steps[k]->has_regions() || !steps[k]->ports.empty()) {
      fused.push_back(std::move(steps[k]));
      continue;
    }
    auto group = std::make_unique<FusedStep>(std::move(steps[k]));
    while (k + 1 < steps.size() && group->takes(*steps[k + 1])) {
      ++k;
      infos[steps[k]->position].reason = "runs with the instruction before it";
      group->take(std::move(steps[k]));
    }
    fused.push_back(group->alone() ? group->release() : std::move(group));
  }
  steps = std::move(fused);
}

}  // namespace openbpu::engine
