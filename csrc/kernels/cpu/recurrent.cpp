// LSTM, GRU and RNN, step by step.
//
// Operands as ONNX gives them: x [steps, batch, input] (layout 0), w [directions, gates * hidden, input], r
// [directions, gates * hidden, hidden], b [directions, 2 * gates * hidden]. A unit is one direction.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "kernels/cpu/kernel.hpp"

namespace openbpu::kernels::cpu {
namespace {

enum class Cell { Lstm, Gru, Rnn };

Cell cell_of(const Call& call) {
  const std::string_view name = call.kernel->name;
  return name == "LSTM" ? Cell::Lstm : name == "GRU" ? Cell::Gru : Cell::Rnn;
}

struct Shape {
  Cell cell;
  std::int64_t steps, batch, input, hidden, gates, directions;
  bool batch_first;
};

Shape shape_of(const Call& call) {
  const Tensor &x = call.in(0), &r = call.in(2);
  Shape s{};
  s.cell = cell_of(call);
  s.batch_first = call.integer("layout") != 0;
  s.steps = x.extent[s.batch_first ? 1 : 0];
  s.batch = x.extent[s.batch_first ? 0 : 1];
  s.input = x.extent[2];
  s.hidden = r.extent[2];
  s.gates = r.extent[1] / s.hidden;
  s.directions = r.extent[0];
  return s;
}

struct Function {
  int kind;
  double alpha, beta;
};

// In the order of the words of the attribute `activations`.
double applied(const Function& f, double x) {
  switch (f.kind) {
    case 0:
      return std::max(x, 0.0);
    case 1:
      return std::tanh(x);
    case 2:
      return 1 / (1 + std::exp(-x));
    case 3:
      return f.alpha * x + f.beta;
    case 4:
      return x < 0 ? f.alpha * x : x;
    case 5:
      return x > f.alpha ? x : 0;
    case 6:
      return f.alpha * std::tanh(f.beta * x);
    case 7:
      return std::min(std::max(f.alpha * x + f.beta, 0.0), 1.0);
    case 8:
      return x < 0 ? f.alpha * std::expm1(x) : x;
    case 9:
      return x / (1 + std::fabs(x));
    default:
      return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
  }
}

// Function `k` of a direction: given, or ONNX's own.
Function function_of(const Call& call, Cell cell, std::int64_t direction, int k) {
  constexpr double alphas[] = {0, 0, 0, 1, 0.01, 1, 1, 0.2, 1, 0, 0}, betas[] = {0, 0, 0, 0, 0, 0, 1, 0.5, 0, 0, 0};
  const int count = cell == Cell::Lstm ? 3 : cell == Cell::Gru ? 2 : 1;
  const auto at = direction * count + k;
  const operators::Integers given = call.list("activations");
  const operators::Numbers alpha = call.numbers("activation_alpha"), beta = call.numbers("activation_beta");
  const int own = cell == Cell::Rnn ? 1 : k == 0 ? 2 : 1;
  const int kind = at < given.size ? static_cast<int>(given[at]) : own;
  return {kind, at < alpha.size ? alpha.data[at] : alphas[kind], at < beta.size ? beta.data[at] : betas[kind]};
}

Plan plan(const Call& call, const Vector&) {
  const Shape s = shape_of(call);
  // Gates of one sequence (twice, GRU keeps the recurrent part), state and cell.
  return plan_of_units(s.directions, 0, static_cast<std::size_t>((2 * s.gates + 3) * s.hidden) * sizeof(float));
}

class Direction {
 public:
  Direction(const Task& task, const Shape& shape, std::int64_t direction)
      : call_(task.call), vector_(task.vector), s_(shape), direction_(direction), clip_(call_.number("clip")) {
    const std::int64_t rows = s_.gates * s_.hidden;
    w_ = call_.in(1).as<const float>() + direction * rows * s_.input;
    r_ = call_.in(2).as<const float>() + direction * rows * s_.hidden;
    b_ = call_.in(3) ? call_.in(3).as<const float>() + direction * 2 * rows : nullptr;
    peepholes_ =
        s_.cell == Cell::Lstm && call_.in(7) ? call_.in(7).as<const float>() + direction * 3 * s_.hidden : nullptr;
    for (int k = 0; k < 3; ++k) functions_[k] = function_of(call_, s_.cell, direction, k);
    linear_ = s_.cell == Cell::Gru && call_.integer("linear_before_reset") != 0;
    coupled_ = s_.cell == Cell::Lstm && call_.integer("input_forget") != 0;
    gates_ = reinterpret_cast<float*>(task.scratch);
    recurrent_ = gates_ + rows;
    state_ = recurrent_ + rows;
    cell_ = state_ + s_.hidden;
    reset_ = cell_ + s_.hidden;
  }

  // Null, or what is wrong with the data.
  const char* run(std::int64_t sequence) {
    const Tensor& lengths = call_.in(4);
    const std::int64_t length = lengths ? lengths.as<const std::int32_t>()[sequence] : s_.steps;
    if (length < 0 || length > s_.steps) return "sequence_lens must be 0 to the number of steps";
    start(state_, call_.in(5), sequence);
    start(cell_, s_.cell == Cell::Lstm ? call_.in(6) : Call::absent(), sequence);
    const bool backward = call_.choice("direction") == 1 || direction_ == 1;
    for (std::int64_t k = 0; k < s_.steps; ++k) {
      const std::int64_t step = backward && k < length ? length - 1 - k : k;
      if (k < length) advance(step, sequence);
      if (call_.out(0)) write_step(step, sequence, k < length);
    }
    const Tensor &last = call_.out(1), &last_cell = call_.out(2);
    if (last) std::memcpy(last.as<float>() + state_at(sequence), state_, bytes());
    if (last_cell) std::memcpy(last_cell.as<float>() + state_at(sequence), cell_, bytes());
    return nullptr;
  }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(s_.hidden) * sizeof(float); }
  std::int64_t state_at(std::int64_t sequence) const {
    return (s_.batch_first ? sequence * s_.directions + direction_ : direction_ * s_.batch + sequence) * s_.hidden;
  }

  void start(float* to, const Tensor& initial, std::int64_t sequence) const {
    if (initial)
      std::memcpy(to, initial.as<const float>() + state_at(sequence), bytes());
    else
      std::memset(to, 0, bytes());
  }

  void write_step(std::int64_t step, std::int64_t sequence, bool valid) const {
    const std::int64_t at = s_.batch_first ? (sequence * s_.steps + step) * s_.directions + direction_
                                           : (step * s_.directions + direction_) * s_.batch + sequence;
    float* to = call_.out(0).as<float>() + at * s_.hidden;
    if (valid)
      std::memcpy(to, state_, bytes());
    else
      std::memset(to, 0, bytes());
  }

  double clipped(double x) const { return clip_ > 0 ? std::clamp(x, -clip_, clip_) : x; }
  float activated(int k, double x) const { return static_cast<float>(applied(functions_[k], clipped(x))); }
  float bias(std::int64_t row) const { return b_ ? b_[row] : 0; }
  float recurrent_bias(std::int64_t row) const { return b_ ? b_[s_.gates * s_.hidden + row] : 0; }

  void advance(std::int64_t step, std::int64_t sequence) {
    const std::int64_t at = s_.batch_first ? sequence * s_.steps + step : step * s_.batch + sequence;
    const float* x = call_.in(0).as<const float>() + at * s_.input;
    for (std::int64_t row = 0; row < s_.gates * s_.hidden; ++row) {
      gates_[row] = vector_.dot(w_ + row * s_.input, x, s_.input) + bias(row);
      recurrent_[row] = vector_.dot(r_ + row * s_.hidden, state_, s_.hidden) + recurrent_bias(row);
    }
    if (s_.cell == Cell::Lstm)
      lstm();
    else if (s_.cell == Cell::Gru)
      gru();
    else
      for (std::int64_t h = 0; h < s_.hidden; ++h)
        state_[h] = activated(0, static_cast<double>(gates_[h] + recurrent_[h]));
  }

  double gate(std::int64_t g, std::int64_t h) const {
    return static_cast<double>(gates_[g * s_.hidden + h] + recurrent_[g * s_.hidden + h]);
  }
  double peephole(std::int64_t g, std::int64_t h) const {
    return peepholes_ ? static_cast<double>(peepholes_[g * s_.hidden + h]) * static_cast<double>(cell_[h]) : 0;
  }

  // Gates i, o, f, c; peepholes i, o, f.
  void lstm() {
    for (std::int64_t h = 0; h < s_.hidden; ++h) {
      const float i = activated(0, gate(0, h) + peephole(0, h));
      const float f = coupled_ ? 1 - i : activated(0, gate(2, h) + peephole(2, h));
      const float c = activated(1, gate(3, h));
      cell_[h] = f * cell_[h] + i * c;
      const float o = activated(0, gate(1, h) + peephole(1, h));
      state_[h] = o * static_cast<float>(applied(functions_[2], static_cast<double>(cell_[h])));
    }
  }

  // Gates z, r, h.
  void gru() {
    const std::int64_t n = s_.hidden;
    for (std::int64_t h = 0; h < n; ++h)
      reset_[h] = activated(0, gate(1, h)) * (linear_ ? recurrent_[2 * n + h] : state_[h]);
    for (std::int64_t h = 0; h < n; ++h) {
      const float r = linear_ ? reset_[h] : vector_.dot(r_ + (2 * n + h) * n, reset_, n) + recurrent_bias(2 * n + h);
      const float candidate = activated(1, static_cast<double>(gates_[2 * n + h] + r));
      const float z = activated(0, gate(0, h));
      recurrent_[2 * n + h] = (1 - z) * candidate + z * state_[h];
    }
    std::memcpy(state_, recurrent_ + 2 * n, bytes());
  }

  const Call& call_;
  const Vector& vector_;
  const Shape& s_;
  std::int64_t direction_;
  double clip_;
  const float *w_, *r_, *b_, *peepholes_;
  Function functions_[3];
  bool linear_, coupled_;
  float *gates_, *recurrent_, *state_, *cell_, *reset_;
};

const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Shape s = shape_of(task.call);
  for (std::int64_t d = begin; d < end; ++d) {
    Direction direction(task, s, d);
    for (std::int64_t sequence = 0; sequence < s.batch; ++sequence)
      if (const char* wrong = direction.run(sequence)) return wrong;
  }
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"LSTM", plan, nullptr, run},
    {"GRU", plan, nullptr, run},
    {"RNN", plan, nullptr, run},
};

}  // namespace

const Span<const Kernel> kRecurrentKernels(kTable);

}  // namespace openbpu::kernels::cpu
