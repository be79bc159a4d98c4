// Frames of a camera through the C calls: rows with gaps, sizes of the application's own, regions of interest.
#include <gtest/gtest.h>

#include <cstring>

#include "hbdnn_models.hpp"

namespace openbpu::testing {
namespace {

constexpr int kRows = 3, kColumns = 5;                     // of the result
constexpr std::uint32_t kMostRows = 6, kMostColumns = 10;  // of the frame

// The region of interest of a frame of up to 6 x 10, at 3 x 5, less 128.
Bytes camera_file() {
  ProgramBuilder b;
  constexpr Extents kFrame{1, kMostRows, kMostColumns, 1}, kRegion{1, 1, 1, 4}, kResult{1, kRows, kColumns, 1};
  const std::uint8_t frame = b.input(kFrame, isa::DType::U8), region = b.input(kRegion, isa::DType::I32);
  const std::uint8_t y = b.output(kResult);
  const std::uint16_t resized = b.surface(isa::Region::Ddr, kResult);
  b.emit(isa::Op::ROIRESIZE, [&](isa::Instruction& i) {
    i.in0 = b.surface(isa::Region::In, kFrame, 0, frame, isa::DType::U8);
    i.in1 = b.surface(isa::Region::In, kRegion, 0, region, isa::DType::I32);
    i.out = resized;
    i.aux = b.aux(isa::RoiResizeAux{0, {}});
  });
  b.move(isa::Op::COPY, b.surface(isa::Region::Out, kResult, 0, y), resized);
  container::Parts parts = parts_of(*b.finish(4096));
  parts.ports[0].flags = isa::kPortStrides | isa::kPortSize;
  isa::Port& port = parts.ports[1];
  port.flags = isa::kPortRegion;
  port.rank = 2;
  std::memset(port.shape, 0, sizeof port.shape);
  port.shape[0] = 1, port.shape[1] = 4;
  return container::write(parts);
}

class HbDnnCamera : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int k = 0; k < 2; ++k) {
      ASSERT_EQ(hbDNNGetInputTensorProperties(&input_[k].properties, model_.model, k), 0);
      ASSERT_EQ(hbUCPMallocCached(&input_[k].sysMem, 4096, 0), 0);
      std::memset(input_[k].sysMem.virAddr, 0xEE, 4096);
    }
    ASSERT_EQ(hbDNNGetOutputTensorProperties(&output_.properties, model_.model, 0), 0);
    ASSERT_EQ(hbUCPMallocCached(&output_.sysMem, 4096, 0), 0);
  }
  void TearDown() override {
    for (hbDNNTensor* tensor : {&input_[0], &input_[1], &output_}) EXPECT_EQ(hbUCPFree(&tensor->sysMem), 0);
  }

  // A frame whose pixel (y, x) is 10 * y + x, with rows of `stride` bytes.
  void put_frame(int rows, int columns, int stride) {
    hbDNNTensorProperties& p = input_[0].properties;
    p.validShape.dimensionSize[1] = rows, p.validShape.dimensionSize[2] = columns;
    p.stride[1] = stride, p.stride[0] = std::int64_t{stride} * rows;
    auto* bytes = static_cast<std::uint8_t*>(input_[0].sysMem.virAddr);
    for (int y = 0; y < rows; ++y)
      for (int x = 0; x < columns; ++x) bytes[y * stride + x] = static_cast<std::uint8_t>(10 * y + x);
  }
  std::int32_t infer(std::int32_t left, std::int32_t top, std::int32_t right, std::int32_t bottom) {
    const std::int32_t region[] = {left, top, right, bottom};
    std::memcpy(input_[1].sysMem.virAddr, region, sizeof region);
    return hbDNNInferV2(nullptr, &output_, input_, model_.model);
  }
  int result(int y, int x) const {
    return static_cast<const std::int8_t*>(output_.sysMem.virAddr)[y * kColumns + x] + 128;
  }

  LoadedModel model_{camera_file()};
  hbDNNTensor input_[2]{}, output_{};
};

TEST_F(HbDnnCamera, WhatIsDecidedAtRunTimeIsMinusOne) {
  const hbDNNTensorProperties& p = input_[0].properties;
  EXPECT_EQ(p.tensorType, HB_DNN_TENSOR_TYPE_U8);
  EXPECT_EQ(p.alignedByteSize, -1);
  const std::int32_t shape[] = {1, -1, -1, 1};
  const std::int64_t stride[] = {-1, -1, 1, 1};
  for (int k = 0; k < 4; ++k) {
    EXPECT_EQ(p.validShape.dimensionSize[k], shape[k]) << k;
    EXPECT_EQ(p.stride[k], stride[k]) << k;
  }
  EXPECT_EQ(input_[1].properties.validShape.numDimensions, 2);
  EXPECT_EQ(input_[1].properties.alignedByteSize, 16);
}

TEST_F(HbDnnCamera, RegionsOfFramesOfAnySizeAndStride) {
  for (const int stride : {7, 10, 32})
    for (const int rows : {3, 4, 6}) {
      put_frame(rows, 7, stride);
      for (int top = 0; top + kRows <= rows; ++top) {
        ASSERT_EQ(infer(2, top, 2 + kColumns - 1, top + kRows - 1), 0);
        for (int y = 0; y < kRows; ++y)
          for (int x = 0; x < kColumns; ++x) EXPECT_EQ(result(y, x), 10 * (top + y) + 2 + x);
      }
    }
}

TEST_F(HbDnnCamera, AnEnlargedRegionIsInterpolated) {
  put_frame(4, 7, 16);
  ASSERT_EQ(infer(3, 1, 3, 1), 0);
  EXPECT_EQ(result(0, 0), 13);
  EXPECT_EQ(result(2, 4), 13);
}

TEST_F(HbDnnCamera, RegionsOutsideOfTheFrameThatIsThere) {
  put_frame(4, 7, 16);
  const std::int32_t wrong[][4] = {{-1, 0, 3, 3},
                                   {0, -1, 3, 3},
                                   {0, 0, 7, 3},
                                   {0, 0, 6, 4},
                                   {4, 0, 3, 3},
                                   {0, 2, 3, 1},
                                   {INT32_MIN, 0, INT32_MAX, 3},
                                   {0, 0, INT32_MAX, INT32_MAX}};
  for (const auto& r : wrong) EXPECT_EQ(infer(r[0], r[1], r[2], r[3]), HB_DNN_INVALID_ARGUMENT);
  EXPECT_EQ(infer(0, 0, 6, 3), 0);
}

TEST_F(HbDnnCamera, FramesThatCannotBe) {
  put_frame(4, 7, 16);
  const hbDNNTensorProperties good = input_[0].properties;
  hbDNNTensorProperties& p = input_[0].properties;
  const auto refused = [&](auto change) {
    p = good;
    change();
    const std::int32_t status = infer(0, 0, 2, 2);
    p = good;
    return status == HB_DNN_INVALID_ARGUMENT;
  };
  EXPECT_TRUE(refused([&] { p.validShape.dimensionSize[1] = -1; }));
  EXPECT_TRUE(refused([&] { p.validShape.dimensionSize[1] = 0; }));
  EXPECT_TRUE(refused([&] { p.validShape.dimensionSize[1] = 7; }));
  EXPECT_TRUE(refused([&] { p.validShape.dimensionSize[2] = 11; }));
  EXPECT_TRUE(refused([&] { p.validShape.dimensionSize[3] = 2; }));
  EXPECT_TRUE(refused([&] { p.validShape.dimensionSize[0] = 2; }));
  EXPECT_TRUE(refused([&] { p.stride[1] = -1; }));
  EXPECT_TRUE(refused([&] { p.stride[1] = 6; }));
  EXPECT_TRUE(refused([&] { p.stride[1] = 2048; }));
  EXPECT_TRUE(refused([&] { p.stride[1] = INT64_MAX; }));
  EXPECT_EQ(infer(0, 0, 2, 2), 0);
}

}  // namespace
}  // namespace openbpu::testing
