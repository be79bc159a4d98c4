/* Models: loading, properties, inference. Every call is safe from any thread. */
#ifndef HOBOT_DNN_HB_DNN_H_
#define HOBOT_DNN_HB_DNN_H_

#include <stdint.h>

#include "hobot/dnn/hb_dnn_status.h"
#include "hobot/hb_ucp.h"
#include "hobot/hb_ucp_sys.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HB_DNN_TENSOR_MAX_DIMENSIONS 10

/* Numbers in a pointer's clothes: not to be dereferenced. One that was released is never given out again. */
typedef void *hbDNNPackedHandle_t; /* the models of one or several files */
typedef void *hbDNNHandle_t;       /* one model */

typedef enum hbDNNDataType {
  HB_DNN_TENSOR_TYPE_S4 = 0,
  HB_DNN_TENSOR_TYPE_U4,
  HB_DNN_TENSOR_TYPE_S8,
  HB_DNN_TENSOR_TYPE_U8,
  HB_DNN_TENSOR_TYPE_F16,
  HB_DNN_TENSOR_TYPE_S16,
  HB_DNN_TENSOR_TYPE_U16,
  HB_DNN_TENSOR_TYPE_F32,
  HB_DNN_TENSOR_TYPE_S32,
  HB_DNN_TENSOR_TYPE_U32,
  HB_DNN_TENSOR_TYPE_F64,
  HB_DNN_TENSOR_TYPE_S64,
  HB_DNN_TENSOR_TYPE_U64,
  HB_DNN_TENSOR_TYPE_BOOL8,
  HB_DNN_TENSOR_TYPE_MAX
} hbDNNDataType;

typedef enum hbDNNQuantiType {
  NONE = 0, /* real values, or integers that are not quantised */
  SCALE = 1 /* real = scale * (value - zero point) */
} hbDNNQuantiType;

typedef enum hbDNNDescType { HB_DNN_DESC_TYPE_UNKNOWN = 0, HB_DNN_DESC_TYPE_STRING = 1 } hbDNNDescType;

typedef struct hbDNNTensorShape {
  int32_t dimensionSize[HB_DNN_TENSOR_MAX_DIMENSIONS];
  int32_t numDimensions;
} hbDNNTensorShape;

/* Owned by the library, alive as long as the packed handle. Lengths are 1 (per tensor), or 0 where quantiType is NONE.
 */
typedef struct hbDNNQuantiScale {
  int32_t scaleLen;
  float *scaleData;
  int32_t zeroPointLen;
  int32_t *zeroPointData;
} hbDNNQuantiScale;

typedef struct hbDNNTensorProperties {
  hbDNNTensorShape validShape;
  int32_t tensorType; /* hbDNNDataType */
  hbDNNQuantiScale scale;
  hbDNNQuantiType quantiType;
  int32_t quantizeAxis;
  int64_t alignedByteSize;                      /* to allocate: stride[0] * validShape.dimensionSize[0] */
  int64_t stride[HB_DNN_TENSOR_MAX_DIMENSIONS]; /* bytes from element to element of each dimension */
} hbDNNTensorProperties;

typedef struct hbDNNTensor {
  hbUCPSysMem sysMem;
  hbDNNTensorProperties properties; /* as published; larger strides of padded rows are obeyed */
} hbDNNTensor;

/* Owned by the library. */
HB_UCP_API const char *hbDNNGetVersion(void);

/* All files or none. Memory of the second call may be freed afterwards. */
HB_UCP_API int32_t hbDNNInitializeFromFiles(hbDNNPackedHandle_t *dnnPackedHandle, char const **modelFileNames,
                                            int32_t modelFileCount);
HB_UCP_API int32_t hbDNNInitializeFromDDR(hbDNNPackedHandle_t *dnnPackedHandle, const void **modelData,
                                          int32_t *modelDataLengths, int32_t modelDataCount);

/* HB_DNN_MODEL_IS_RUNNING while a task uses one of the models. */
HB_UCP_API int32_t hbDNNRelease(hbDNNPackedHandle_t dnnPackedHandle);

/* What these give belongs to the packed handle and lives as long. */
HB_UCP_API int32_t hbDNNGetModelNameList(char const ***modelNameList, int32_t *modelNameCount,
                                         hbDNNPackedHandle_t dnnPackedHandle);
HB_UCP_API int32_t hbDNNGetModelHandle(hbDNNHandle_t *dnnHandle, hbDNNPackedHandle_t dnnPackedHandle,
                                       char const *modelName);
HB_UCP_API int32_t hbDNNGetInputCount(int32_t *inputCount, hbDNNHandle_t dnnHandle);
HB_UCP_API int32_t hbDNNGetOutputCount(int32_t *outputCount, hbDNNHandle_t dnnHandle);
HB_UCP_API int32_t hbDNNGetInputName(char const **name, hbDNNHandle_t dnnHandle, int32_t inputIndex);
HB_UCP_API int32_t hbDNNGetOutputName(char const **name, hbDNNHandle_t dnnHandle, int32_t outputIndex);
HB_UCP_API int32_t hbDNNGetInputTensorProperties(hbDNNTensorProperties *properties, hbDNNHandle_t dnnHandle,
                                                 int32_t inputIndex);
HB_UCP_API int32_t hbDNNGetOutputTensorProperties(hbDNNTensorProperties *properties, hbDNNHandle_t dnnHandle,
                                                  int32_t outputIndex);
HB_UCP_API int32_t hbDNNGetInputDesc(char const **desc, uint32_t *size, int32_t *type, hbDNNHandle_t dnnHandle,
                                     int32_t inputIndex);
HB_UCP_API int32_t hbDNNGetOutputDesc(char const **desc, uint32_t *size, int32_t *type, hbDNNHandle_t dnnHandle,
                                      int32_t outputIndex);
HB_UCP_API int32_t hbDNNGetModelDesc(char const **desc, uint32_t *size, int32_t *type, hbDNNHandle_t dnnHandle);
HB_UCP_API int32_t hbDNNGetHBMDesc(char const **desc, uint32_t *size, int32_t *type,
                                   hbDNNPackedHandle_t dnnPackedHandle, int32_t index);
HB_UCP_API int32_t hbDNNGetCompileBpuCoreNum(int32_t *num, hbDNNHandle_t dnnHandle);

/* taskHandle null: runs now, with the lowest priority on any core. *taskHandle null: makes a task. Else: adds a
 * sub-task to one that was not submitted; sub-tasks run in the order in which they were added. All tensors must lie in
 * memory of hbUCPMalloc or hbUCPMallocCached, which the task holds until it has ended. */
HB_UCP_API int32_t hbDNNInferV2(hbUCPTaskHandle_t *taskHandle, hbDNNTensor *output, hbDNNTensor const *input,
                                hbDNNHandle_t dnnHandle);

/* Of a task that has ended. */
HB_UCP_API int32_t hbDNNGetTaskOutputTensorProperties(hbDNNTensorProperties *properties, hbUCPTaskHandle_t taskHandle,
                                                      int32_t subTaskIndex, int32_t outputIndex);

#ifdef __cplusplus
}
#endif

#endif
