#include <string>

#include "operators/shapes.hpp"

namespace openbpu::operators {
namespace {

Fault shaped(const Tensor& tensor, const char* where, bool right) {
  if (!tensor) return {};
  if (tensor.type != Type::F32) return fault(where, "must be float32");
  return right ? Fault{} : fault(where, "must have the shape that the operator gives");
}

}  // namespace

namespace rules {

Fault Recurrent(const Call& call) {
  const std::string name = call.kernel->name;
  const std::int64_t gates = name == "LSTM" ? 4 : name == "GRU" ? 3 : 1;
  const Tensor &x = call.in(0), &w = call.in(1), &r = call.in(2);
  const bool batch_first = call.integer("layout") != 0;
  const std::int64_t directions = call.choice("direction") == 2 ? 2 : 1, hidden = call.integer("hidden_size");
  if (hidden < 1 || hidden > (1 << 24)) return fault("attribute hidden_size", "must be 1 to 2^24", hidden);
  if (!(call.number("clip") >= 0)) return fault("attribute clip", "must not be negative");
  if (x.type != Type::F32 || x.rank != 3) return fault("input 0", "must be float32 [steps, batch, input]");
  const std::int64_t steps = x.extent[batch_first ? 1 : 0], batch = x.extent[batch_first ? 0 : 1];
  OPENBPU_CHECK(shaped(w, "input 1", has_shape(w, directions, gates * hidden, x.extent[2])));
  OPENBPU_CHECK(shaped(r, "input 2", has_shape(r, directions, gates * hidden, hidden)));
  OPENBPU_CHECK(shaped(call.in(3), "input 3", has_shape(call.in(3), directions, 2 * gates * hidden)));
  if (call.in(4) && (call.in(4).type != Type::I32 || !has_shape(call.in(4), batch)))
    return fault("input 4", "must be int32 [batch]");
  const auto is_state = [&](const Tensor& t) {
    return batch_first ? has_shape(t, batch, directions, hidden) : has_shape(t, directions, batch, hidden);
  };
  OPENBPU_CHECK(shaped(call.in(5), "input 5", is_state(call.in(5))));
  OPENBPU_CHECK(shaped(call.in(6), "input 6", is_state(call.in(6))));
  OPENBPU_CHECK(shaped(call.in(7), "input 7", has_shape(call.in(7), directions, 3 * hidden)));
  const Tensor& y = call.out(0);
  OPENBPU_CHECK(shaped(
      y, "output 0",
      batch_first ? has_shape(y, batch, steps, directions, hidden) : has_shape(y, steps, directions, batch, hidden)));
  OPENBPU_CHECK(shaped(call.out(1), "output 1", is_state(call.out(1))));
  return shaped(call.out(2), "output 2", is_state(call.out(2)));
}

}  // namespace rules
}  // namespace openbpu::operators
