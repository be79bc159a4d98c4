// MatMul and Gemm.
#include <cstring>

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/walk.hpp"

namespace openbpu::kernels::cpu {
namespace {

// Stacks of matrices; offsets of the operands' matrices for each of the result's.
struct Stack {
  std::int64_t m, n, k, batches;
  Matrix a, b;           // with data of matrix 0
  std::int64_t b_count;  // matrices of b
  Walk<2> batch;
};

// Product dimensions of an operand without those of its matrix.
Tensor batch_of(const Tensor& tensor, int matrix_rank) {
  Tensor batch = tensor;
  batch.rank = std::max(0, tensor.rank - matrix_rank);
  return batch;
}

Stack matmul_stack(const Call& call) {
  const Tensor &a = call.in(0), &b = call.in(1), &y = call.out();
  operators::MatMulShape shape{};
  if (operators::matmul_of(a, b, y, shape)) return {};
  Stack s{shape.m, shape.n, shape.k, shape.batches, {}, {}, 1, {}};
  s.a = {a.as<const float>(), s.k, 1};
  s.b = {b.as<const float>(), b.rank > 1 ? s.n : 1, 1};
  const Tensor left = batch_of(a, 2), right = batch_of(b, 2), whole = batch_of(y, (a.rank > 1) + (b.rank > 1));
  s.b_count = right.elements();
  if (s.b_count == 1 && left.elements() == s.batches) {  // one b for all: one tall product
    s.m *= s.batches;
    s.batches = 1;
    return s;
  }
  s.batch = broadcast_walk<2>(whole, {&left, &right});
  return s;
}

Stack gemm_stack(const Call& call) {
  const Tensor &a = call.in(0), &b = call.in(1), &y = call.out();
  const bool ta = call.integer("transA") != 0, tb = call.integer("transB") != 0;
  Stack s{y.extent[0], y.extent[1], a.extent[ta ? 0 : 1], 1, {}, {}, 1, {}};
  s.a = {a.as<const float>(), ta ? 1 : a.extent[1], ta ? a.extent[1] : 1};
  s.b = {b.as<const float>(), tb ? 1 : b.extent[1], tb ? b.extent[1] : 1};
  return s;
}

// Units: blocks of rows x blocks of columns of each matrix.
struct Cut {
  std::int64_t row_block, row_blocks, column_block, column_blocks;
};

Cut cut_of(const Stack& s, const Vector& vector, bool packed) {
  Cut cut{};
  // Each block packs its rows of a: if b is packed already, blocks are wide.
  cut.column_block = block_columns(vector) * (packed ? 3 : 1);
  cut.column_blocks = (s.n + cut.column_block - 1) / cut.column_block;
  const std::int64_t wanted = 16, have = cut.column_blocks * s.batches;
  // A block of columns that has to be packed serves all rows, unless there would be too few units.
  const std::int64_t parts = packed ? s.m : std::max<std::int64_t>(1, wanted / std::max<std::int64_t>(1, have));
  cut.row_block = rounded(std::max(kBlockRows, packed ? kBlockRows : (s.m + parts - 1) / parts), kBlockRows);
  cut.row_blocks = (s.m + cut.row_block - 1) / cut.row_block;
  return cut;
}

bool is_packed(const Call& call) { return call.in(1).constant; }

std::int64_t packed_matrix(const Stack& s, const Vector& vector) { return packed_columns(vector, s.k, s.n); }

template <Stack (*stack_of)(const Call&)>
Plan plan(const Call& call, const Vector& vector) {
  const Stack s = stack_of(call);
  const bool packed = is_packed(call);
  const Cut cut = cut_of(s, vector, packed);
  const std::int64_t floats = packed ? packed_matrix(s, vector) * s.b_count : 0;
  return plan_of_units(cut.row_blocks * cut.column_blocks * s.batches, static_cast<std::size_t>(floats) * sizeof(float),
                       static_cast<std::size_t>(block_scratch(vector)) * sizeof(float));
}

template <Stack (*stack_of)(const Call&)>
void prepare(const Call& call, const Vector& vector, std::uint8_t* prepared) {
  const Stack s = stack_of(call);
  auto* to = reinterpret_cast<float*>(prepared);
  for (std::int64_t i = 0; i < s.b_count; ++i)
    pack_all_columns(vector, {s.b.data + i * s.k * s.n, s.b.row, s.b.column}, s.k, s.n,
                     to + i * packed_matrix(s, vector));
}

// One block of the result; `matrix` is that of b.
void block(const Task& task, const Stack& s, const Matrix& a, std::int64_t matrix, std::int64_t m0, std::int64_t m1,
           std::int64_t n0, std::int64_t n1, float* c) {
  const Vector& vector = task.vector;
  auto* scratch = reinterpret_cast<float*>(task.scratch);
  const Matrix b{s.b.data + matrix * s.k * s.n, s.b.row, s.b.column};
  if (!is_packed(task.call)) return multiply(vector, a, b, m0, m1, n0, n1, s.k, c, s.n, nullptr, scratch);
  const float* packed = reinterpret_cast<const float*>(task.prepared) + matrix * packed_matrix(s, vector);
  multiply(
      vector, m0, m1, n0, n1, s.k, c, s.n, nullptr,
      [&](std::int64_t r, std::int64_t end, std::int64_t k0, std::int64_t depth) {
        pack_rows(vector, a, r, end, k0, depth, scratch);
        return scratch;
      },
      [&](std::int64_t k0, std::int64_t depth) { return panels_at(vector, packed, s.n, n0, k0, depth); });
}

constexpr std::int64_t kFinish = 256;  // elements at a time

// alpha * c + beta * bias on a block of Gemm's result.
void finish_gemm(const Task& task, const Stack& s, std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1,
                 float* c) {
  const auto alpha = static_cast<float>(task.call.number("alpha")), beta = static_cast<float>(task.call.number("beta"));
  const Tensor& bias = task.call.in(2);
  std::int64_t strides[operators::kMaxRank] = {};
  if (bias) broadcast_strides(bias, 2, strides);
  const Vector& vector = task.vector;
  const std::int64_t n = n1 - n0;
  for (std::int64_t m = m0; m < m1; ++m) {
    float* row = c + m * s.n + n0;
    if (alpha != 1) vector.math[static_cast<int>(Math::Affine)](row, row, n, alpha, 0);
    if (!bias) continue;
    const float* from = bias.as<const float>() + m * strides[0] + n0 * strides[1];
    if (beta == 1) {
      vector.arithmetic[static_cast<int>(Arithmetic::Add)](row, 1, from, strides[1], row, n);
      continue;
    }
    float scaled[kFinish];
    for (std::int64_t i = 0; i < n; i += kFinish) {
      const std::int64_t count = std::min(kFinish, n - i), taken = strides[1] == 0 ? 1 : count;
      vector.math[static_cast<int>(Math::Affine)](from + i * strides[1], scaled, taken, beta, 0);
      vector.arithmetic[static_cast<int>(Arithmetic::Add)](row + i, 1, scaled, strides[1], row + i, count);
    }
  }
}

template <Stack (*stack_of)(const Call&), bool gemm>
const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Stack s = stack_of(task.call);
  const Cut cut = cut_of(s, task.vector, is_packed(task.call));
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t blocks = cut.row_blocks * cut.column_blocks, batch = unit / blocks;
    const std::int64_t row = unit % cut.row_blocks, column = unit / cut.row_blocks % cut.column_blocks;
    std::int64_t left = 0, right = 0;
    if (s.batch.rank > 0)
      walk_rows(s.batch, batch, batch + 1,
                [&](const std::int64_t(&at)[2], std::int64_t) { left = at[0], right = at[1]; });
    const Matrix a{s.a.data + left * s.m * s.k, s.a.row, s.a.column};
    const std::int64_t m0 = row * cut.row_block, m1 = std::min(s.m, m0 + cut.row_block);
    const std::int64_t n0 = column * cut.column_block, n1 = std::min(s.n, n0 + cut.column_block);
    float* c = task.call.out().as<float>() + batch * s.m * s.n;
    block(task, s, a, right, m0, m1, n0, n1, c);
    if (gemm) finish_gemm(task, s, m0, m1, n0, n1, c);
  }
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"MatMul", plan<matmul_stack>, prepare<matmul_stack>, run<matmul_stack, false>},
    {"Gemm", plan<gemm_stack>, prepare<gemm_stack>, run<gemm_stack, true>},
};

}  // namespace

const Span<const Kernel> kMatMulKernels(kTable);

}  // namespace openbpu::kernels::cpu
