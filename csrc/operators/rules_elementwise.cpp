#include "operators/shapes.hpp"

namespace openbpu::operators {

bool broadcasts(Span<const Tensor> inputs, const Tensor& out) {
  std::int64_t reached[kMaxRank] = {1, 1, 1, 1, 1, 1, 1, 1};
  for (const Tensor& in : inputs) {
    if (!in) continue;
    if (in.rank > out.rank) return false;
    const int shift = out.rank - in.rank;
    for (int k = 0; k < in.rank; ++k) {
      if (in.extent[k] != 1 && in.extent[k] != out.extent[shift + k]) return false;
      if (in.extent[k] != 1) reached[shift + k] = in.extent[k];
    }
  }
  for (int k = 0; k < out.rank; ++k)
    if (reached[k] != out.extent[k]) return false;
  return true;
}

Fault one_type(const Call& call, std::uint32_t types, std::size_t first, std::size_t end) {
  const Tensor& model = call.in(first);
  if (!is(model, types))
    return fault("input " + std::to_string(first), "has a type that the operator does not take",
                 static_cast<std::int64_t>(model.type));
  for (std::size_t k = first; k < call.inputs.size() && k < end; ++k)
    if (call.in(k) && call.in(k).type != model.type)
      return fault("input " + std::to_string(k), "must have the type of the first",
                   static_cast<std::int64_t>(call.in(k).type));
  if (call.out().type != model.type)
    return fault("output 0", "must have the type of the input", static_cast<std::int64_t>(call.out().type));
  return {};
}

namespace {

Fault unary(const Call& call, std::uint32_t types) {
  OPENBPU_CHECK(one_type(call, types));
  return same_shape(call.in(0), call.out()) ? Fault{} : fault("output 0", "must have the shape of the input");
}

Fault shape(const Call& call) {
  return broadcasts(call.inputs, call.out()) ? Fault{}
                                             : fault("output 0", "must have the broadcast shape of the inputs");
}

Fault binary(const Call& call, std::uint32_t types) {
  OPENBPU_CHECK(one_type(call, types));
  return shape(call);
}

}  // namespace

namespace rules {

Fault UnaryNumber(const Call& call) { return unary(call, kNumbers); }
Fault UnaryFloat(const Call& call) { return unary(call, kFloats); }
Fault UnaryBool(const Call& call) { return unary(call, bit(Type::Bool)); }
Fault UnaryInteger(const Call& call) { return unary(call, kIntegers); }
Fault UnaryTest(const Call& call) {
  if (!is(call.in(0), kFloats)) return fault("input 0", "must be float32 or float64");
  if (call.out().type != Type::Bool) return fault("output 0", "must be bool");
  return same_shape(call.in(0), call.out()) ? Fault{} : fault("output 0", "must have the shape of the input");
}
Fault Clip(const Call& call) {
  OPENBPU_CHECK(unary(call, kNumbers));
  for (std::size_t k : {std::size_t{1}, std::size_t{2}})
    if (call.in(k) && !is_scalar(call.in(k))) return fault("input " + std::to_string(k), "must have one element");
  return {};
}
Fault BinaryNumber(const Call& call) { return binary(call, kNumbers); }
Fault BinaryBool(const Call& call) { return binary(call, bit(Type::Bool)); }
Fault BinaryInteger(const Call& call) { return binary(call, kIntegers); }
Fault Pow(const Call& call) {
  OPENBPU_CHECK(one_type(call, kNumbers, 0, 1));
  if (!is(call.in(1), kNumbers)) return fault("input 1", "must be a number type");
  return shape(call);
}
Fault Variadic(const Call& call) {
  for (std::size_t k = 0; k < call.inputs.size(); ++k)
    if (!call.in(k)) return fault("input " + std::to_string(k), "must be there");
  return binary(call, kNumbers);
}
Fault Comparison(const Call& call) {
  if (!is(call.in(0), kNumbers | bit(Type::Bool))) return fault("input 0", "must be a number type or bool");
  if (call.in(1).type != call.in(0).type) return fault("input 1", "must have the type of the first");
  if (call.out().type != Type::Bool) return fault("output 0", "must be bool");
  return shape(call);
}
Fault Where(const Call& call) {
  if (call.in(0).type != Type::Bool) return fault("input 0", "must be bool");
  OPENBPU_CHECK(one_type(call, ~0u, 1));
  return shape(call);
}

}  // namespace rules
}  // namespace openbpu::operators
