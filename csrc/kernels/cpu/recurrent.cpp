// LSTM, GRU and RNN, step by step.
//
// Operands as ONNX gives them: x [steps, batch, input] (layout 0), w [directions, gates * hidden, input], r
// [directions, gates * hidden, hidden], b [directions, 2 * gates * hidden]. A unit is one direction. All sequences go
// in step: their products with w are made for some steps at a time, those with r step by step.
#include <algorithm>
#include <cstring>
#include <string_view>

#include "kernels/cpu/gemm.hpp"
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

  std::int64_t rows() const { return gates * hidden; }
  // Rows of r whose products with the state are made together; those of GRU's last gate come later.
  std::int64_t early_rows() const { return cell == Cell::Gru ? 2 * hidden : rows(); }
  // Steps whose products with w are made together.
  std::int64_t chunk() const { return std::max<std::int64_t>(1, 16 / batch); }
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
  float alpha, beta;
};

// x = f(x), in the order of the words of the attribute `activations`.
void apply(const Vector& vector, const Function& f, float* x, std::int64_t n) {
  constexpr Math kinds[] = {
      Math::Relu, Math::Tanh,        Math::Sigmoid, Math::Affine,   Math::LeakyRelu, Math::ThresholdedRelu,
      Math::Tanh, Math::HardSigmoid, Math::Elu,     Math::Softsign, Math::Softplus};
  const auto math = [&](Math m, float a, float b) { vector.math[static_cast<int>(m)](x, x, n, a, b); };
  const bool scaled = f.kind == 6;  // ScaledTanh
  if (scaled) math(Math::Affine, f.beta, 0);
  math(kinds[f.kind], f.alpha, f.beta);
  if (scaled) math(Math::Affine, f.alpha, 0);
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
  return {kind, static_cast<float>(at < alpha.size ? alpha.data[at] : alphas[kind]),
          static_cast<float>(at < beta.size ? beta.data[at] : betas[kind])};
}

// ---- weights as panels

// Of a direction: w, the early rows of r, the others of r. In floats.
struct Panels {
  std::int64_t early, late, size;
};
Panels panels_of(const Shape& s, const Vector& vector) {
  const std::int64_t early = packed_columns(vector, s.input, s.rows());
  const std::int64_t late = early + packed_columns(vector, s.hidden, s.early_rows());
  return {early, late, late + packed_columns(vector, s.hidden, s.rows() - s.early_rows())};
}

void pack_direction(const Call& call, const Vector& vector, const Shape& s, std::int64_t direction, float* to) {
  const Panels panels = panels_of(s, vector);
  const float* w = call.in(1).as<const float>() + direction * s.rows() * s.input;
  const float* r = call.in(2).as<const float>() + direction * s.rows() * s.hidden;
  pack_all_columns(vector, {w, 1, s.input}, s.input, s.rows(), to);
  pack_all_columns(vector, {r, 1, s.hidden}, s.hidden, s.early_rows(), to + panels.early);
  pack_all_columns(vector, {r + s.early_rows() * s.hidden, 1, s.hidden}, s.hidden, s.rows() - s.early_rows(),
                   to + panels.late);
}

bool is_packed(const Call& call) { return call.in(1).constant && call.in(2).constant; }

void prepare(const Call& call, const Vector& vector, std::uint8_t* prepared) {
  const Shape s = shape_of(call);
  for (std::int64_t d = 0; d < s.directions; ++d)
    pack_direction(call, vector, s, d, reinterpret_cast<float*>(prepared) + d * panels_of(s, vector).size);
}

// ---- scratch of a direction, in floats

struct Room {
  std::int64_t x, gates, state, cell, late, row, tiles, panels, size;
};
Room room_of(const Call& call, const Shape& s, const Vector& vector) {
  const std::int64_t rows = s.chunk() * s.batch, states = s.batch * s.hidden;
  Room room{};
  room.gates = rows * s.input;
  room.state = room.gates + rows * s.rows();
  room.cell = room.state + states;
  room.late = room.cell + states;
  room.row = room.late + states;
  room.tiles = room.row + s.hidden;
  room.panels = room.tiles + rounded(rows, vector.rows) * kDepth;
  room.size = room.panels + (is_packed(call) ? 0 : panels_of(s, vector).size);
  return room;
}

Plan plan(const Call& call, const Vector& vector) {
  const Shape s = shape_of(call);
  const std::int64_t packed = is_packed(call) ? s.directions * panels_of(s, vector).size : 0;
  return plan_of_units(s.directions, static_cast<std::size_t>(packed) * sizeof(float),
                       static_cast<std::size_t>(room_of(call, s, vector).size) * sizeof(float));
}

class Direction {
 public:
  Direction(const Task& task, const Shape& shape, std::int64_t direction)
      : call_(task.call), vector_(task.vector), s_(shape), direction_(direction) {
    const std::int64_t rows = s_.rows();
    b_ = call_.in(3) ? call_.in(3).as<const float>() + direction * 2 * rows : nullptr;
    peepholes_ =
        s_.cell == Cell::Lstm && call_.in(7) ? call_.in(7).as<const float>() + direction * 3 * s_.hidden : nullptr;
    clip_ = static_cast<float>(call_.number("clip"));
    for (int k = 0; k < 3; ++k) functions_[k] = function_of(call_, s_.cell, direction, k);
    linear_ = s_.cell == Cell::Gru && call_.integer("linear_before_reset") != 0;
    coupled_ = s_.cell == Cell::Lstm && call_.integer("input_forget") != 0;
    room_ = room_of(call_, s_, vector_);
    scratch_ = reinterpret_cast<float*>(task.scratch);
    panels_ = panels_of(s_, vector_);
    if (is_packed(call_)) {
      packed_ = reinterpret_cast<const float*>(task.prepared) + direction * panels_.size;
    } else {
      pack_direction(call_, vector_, s_, direction, at(room_.panels));
      packed_ = at(room_.panels);
    }
  }

  // Null, or what is wrong with the data.
  const char* run() {
    for (std::int64_t q = 0; q < s_.batch; ++q) {
      if (length(q) < 0 || length(q) > s_.steps) return "sequence_lens must be 0 to the number of steps";
      start(state(q), call_.in(5), q);
      start(cell(q), s_.cell == Cell::Lstm ? call_.in(6) : Call::absent(), q);
    }
    for (std::int64_t first = 0; first < s_.steps; first += s_.chunk()) {
      const std::int64_t count = std::min(s_.chunk(), s_.steps - first);
      project(first, count);
      for (std::int64_t k = 0; k < count; ++k) advance(first + k, at(room_.gates) + k * s_.batch * s_.rows());
    }
    for (std::int64_t q = 0; q < s_.batch; ++q) {
      if (call_.out(1)) std::memcpy(call_.out(1).as<float>() + state_at(q), state(q), bytes(s_.hidden));
      if (call_.out(2)) std::memcpy(call_.out(2).as<float>() + state_at(q), cell(q), bytes(s_.hidden));
    }
    return nullptr;
  }

 private:
  float* at(std::int64_t place) const { return scratch_ + place; }
  float* state(std::int64_t sequence) const { return at(room_.state) + sequence * s_.hidden; }
  float* cell(std::int64_t sequence) const { return at(room_.cell) + sequence * s_.hidden; }
  static std::size_t bytes(std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); }
  std::int64_t state_at(std::int64_t sequence) const {
    return (s_.batch_first ? sequence * s_.directions + direction_ : direction_ * s_.batch + sequence) * s_.hidden;
  }
  std::int64_t length(std::int64_t sequence) const {
    return call_.in(4) ? call_.in(4).as<const std::int32_t>()[sequence] : s_.steps;
  }
  // Of the k-th step that a sequence takes.
  std::int64_t step_of(std::int64_t k, std::int64_t sequence) const {
    const bool backward = call_.choice("direction") == 1 || direction_ == 1;
    return backward && k < length(sequence) ? length(sequence) - 1 - k : k;
  }

  void start(float* to, const Tensor& initial, std::int64_t sequence) const {
    if (initial)
      std::memcpy(to, initial.as<const float>() + state_at(sequence), bytes(s_.hidden));
    else
      std::memset(to, 0, bytes(s_.hidden));
  }

  // c[m][columns] += a[m][k] * packed.
  void add_product(const float* a, std::int64_t m, std::int64_t k, const float* packed, std::int64_t columns, float* c,
                   std::int64_t c_row) const {
    for (std::int64_t k0 = 0; k0 < k; k0 += kDepth) {
      const std::int64_t depth = std::min(kDepth, k - k0);
      pack_rows(vector_, {a, k, 1}, 0, m, k0, depth, at(room_.tiles));
      vector_.product({at(room_.tiles), panels_at(vector_, packed, columns, 0, k0, depth), c, c_row, m, columns, depth,
                       nullptr, true});
    }
  }

  // Gates of `count` steps of all sequences as far as the inputs and biases make them.
  void project(std::int64_t first, std::int64_t count) const {
    const std::int64_t rows = s_.rows();
    for (std::int64_t k = 0; k < count; ++k)
      for (std::int64_t q = 0; q < s_.batch; ++q) {
        const std::int64_t step = step_of(first + k, q),
                           place = s_.batch_first ? q * s_.steps + step : step * s_.batch + q;
        std::memcpy(at(room_.x) + (k * s_.batch + q) * s_.input, call_.in(0).as<const float>() + place * s_.input,
                    bytes(s_.input));
        float* gates = at(room_.gates) + (k * s_.batch + q) * rows;
        // Linear GRU adds the recurrent bias of its last gate before the reset.
        for (std::int64_t r = 0; r < rows; ++r)
          gates[r] = !b_ ? 0 : linear_ && r >= s_.early_rows() ? b_[r] : b_[r] + b_[rows + r];
      }
    add_product(at(room_.x), count * s_.batch, s_.input, packed_, rows, at(room_.gates), rows);
  }

  void advance(std::int64_t k, float* gates) const {
    const std::int64_t rows = s_.rows();
    add_product(at(room_.state), s_.batch, s_.hidden, packed_ + panels_.early, s_.early_rows(), gates, rows);
    if (s_.cell == Cell::Gru) reset(gates);
    for (std::int64_t q = 0; q < s_.batch; ++q) {
      const bool valid = k < length(q);
      float* own = gates + q * rows;
      if (valid && s_.cell == Cell::Lstm) lstm(own, state(q), cell(q));
      if (valid && s_.cell == Cell::Gru) gru(own, state(q), q);
      if (valid && s_.cell == Cell::Rnn) {
        activate(0, own, s_.hidden);
        std::memcpy(state(q), own, bytes(s_.hidden));
      }
      if (call_.out(0)) write_step(step_of(k, q), q, valid);
    }
  }

  void write_step(std::int64_t step, std::int64_t sequence, bool valid) const {
    const std::int64_t place = s_.batch_first ? (sequence * s_.steps + step) * s_.directions + direction_
                                              : (step * s_.directions + direction_) * s_.batch + sequence;
    float* to = call_.out(0).as<float>() + place * s_.hidden;
    if (valid)
      std::memcpy(to, state(sequence), bytes(s_.hidden));
    else
      std::memset(to, 0, bytes(s_.hidden));
  }

  // to = a f b, element by element of a row.
  void combine(Arithmetic f, const float* a, const float* b, float* to) const {
    vector_.arithmetic[static_cast<int>(f)](a, 1, b, 1, to, s_.hidden);
  }
  void affine(const float* x, float* to, float factor, float shift) const {
    vector_.math[static_cast<int>(Math::Affine)](x, to, s_.hidden, factor, shift);
  }
  void activate(int k, float* x, std::int64_t n) const {
    if (clip_ > 0) vector_.math[static_cast<int>(Math::Clamp)](x, x, n, -clip_, clip_);
    apply(vector_, functions_[k], x, n);
  }
  void add_peephole(std::int64_t k, const float* cell, float* gate) const {
    if (!peepholes_) return;
    combine(Arithmetic::Mul, peepholes_ + k * s_.hidden, cell, at(room_.row));
    combine(Arithmetic::Add, gate, at(room_.row), gate);
  }

  // Gates i, o, f, c; peepholes i, o, f.
  void lstm(float* gates, float* state, float* cell) const {
    const std::int64_t n = s_.hidden;
    float *i = gates, *o = i + n, *f = o + n, *c = f + n;
    add_peephole(0, cell, i);
    activate(0, i, n);
    if (coupled_) {
      affine(i, f, -1, 1);
    } else {
      add_peephole(2, cell, f);
      activate(0, f, n);
    }
    activate(1, c, n);
    combine(Arithmetic::Mul, f, cell, cell);
    combine(Arithmetic::Mul, i, c, c);
    combine(Arithmetic::Add, cell, c, cell);
    add_peephole(1, cell, o);
    activate(0, o, n);
    std::memcpy(state, cell, bytes(n));
    apply(vector_, functions_[2], state, n);
    combine(Arithmetic::Mul, o, state, state);
  }

  // Gates z and r, and the recurrent part of h, of all sequences.
  void reset(float* gates) const {
    const std::int64_t n = s_.hidden, rows = s_.rows();
    float* late = at(room_.late);
    for (std::int64_t q = 0; q < s_.batch; ++q) {
      activate(0, gates + q * rows, 2 * n);
      const float* r = gates + q * rows + n;
      if (!linear_)
        combine(Arithmetic::Mul, r, state(q), late + q * n);
      else if (b_)
        std::memcpy(late + q * n, b_ + rows + 2 * n, bytes(n));
      else
        std::memset(late + q * n, 0, bytes(n));
    }
    if (linear_)
      add_product(at(room_.state), s_.batch, n, packed_ + panels_.late, n, late, n);
    else
      add_product(late, s_.batch, n, packed_ + panels_.late, n, gates + 2 * n, rows);
  }

  void gru(float* gates, float* state, std::int64_t sequence) const {
    const std::int64_t n = s_.hidden;
    float *z = gates, *r = z + n, *h = r + n;
    if (linear_) {
      combine(Arithmetic::Mul, r, at(room_.late) + sequence * n, r);
      combine(Arithmetic::Add, h, r, h);
    }
    activate(1, h, n);
    combine(Arithmetic::Mul, z, state, state);
    affine(z, z, -1, 1);
    combine(Arithmetic::Mul, z, h, h);
    combine(Arithmetic::Add, h, state, state);
  }

  const Call& call_;
  const Vector& vector_;
  const Shape& s_;
  std::int64_t direction_;
  float clip_;
  const float *b_, *peepholes_, *packed_;
  Function functions_[3];
  bool linear_, coupled_;
  Room room_;
  Panels panels_;
  float* scratch_;
};

const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Shape s = shape_of(task.call);
  for (std::int64_t d = begin; d < end; ++d)
    if (const char* wrong = Direction(task, s, d).run()) return wrong;
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"LSTM", plan, prepare, run},
    {"GRU", plan, prepare, run},
    {"RNN", plan, prepare, run},
};

}  // namespace

const Span<const Kernel> kRecurrentKernels(kTable);

}  // namespace openbpu::kernels::cpu
