// What codes mean, and what the library says of itself.
#include <cstdio>
#include <cstdlib>

#include "api/ucp/ucp.hpp"
#include "openbpu/version.hpp"

namespace openbpu::ucp {
namespace {

struct Description {
  std::int32_t status;
  const char* text;
};

constexpr Description kDescriptions[] = {
    {HB_UCP_SUCCESS, "success"},
    {HB_UCP_INVALID_ARGUMENT, "an argument is null, out of range, unknown, or of a wrong shape or size"},
    {HB_UCP_API_USE_ERROR, "the call is not allowed at this time"},
    {HB_UCP_INIT_FAILED, "the library could not be started"},
    {HB_UCP_UNKNOWN, "error of the library itself"},
    {HB_UCP_VERSION_INCOMPATIBLE, "versions do not fit"},
    {HB_UCP_TASK_NUMBER_EXCEED_LIMIT, "too many tasks that are not released"},
    {HB_UCP_TASK_TIMEOUT, "the task was not done in time"},
    {HB_UCP_TASK_RUN_FAILED, "the task failed while it ran"},
    {HB_UCP_TASK_HANDLE_INVALID, "the task does not exist, or is already released"},
    {HB_UCP_OP_NUMBER_EXCEED, "too many sub-tasks in one task"},
    {HB_UCP_OP_NOT_REGISTER, "the operation is not registered"},
    {HB_UCP_OP_CMD_UNAVAILABLE, "the command is not available"},
    {HB_UCP_MEM_ALLOC_FAILED, "out of memory"},
    {HB_UCP_MEM_FREE_FAILED, "the memory is in use by a task"},
    {HB_UCP_MEM_FLUSH_FAILED, "the memory could not be flushed"},
    {HB_UCP_MEM_INVALIDATE_FAILED, "the memory could not be invalidated"},
    {HB_UCP_MEM_IS_INVALID, "the memory was not allocated, or is already freed"},
    {HB_UCP_MEM_MAP_FAILED, "the memory could not be mapped"},
    {HB_UCP_MEM_UNMAP_FAILED, "the memory could not be unmapped"},
    {HB_UCP_FILE_OPEN_FAILED, "the file could not be read"},
    {HB_UCP_MODEL_NUMBER_EXCEED, "too many models are loaded"},
    {HB_UCP_MODEL_INVALID, "the model is damaged or no .bpux file, or its name is there twice"},
    {HB_UCP_MODEL_IS_INUSE, "the model is in use by a task"},
    {HB_UCP_MODEL_INCOMPATIBLE, "the model is of another version"},
};

// The level at which nothing is written, as in the variable's public description.
constexpr int kSilent = 6;

bool is_silent() {
  const char* level = std::getenv("HB_UCP_LOG_LEVEL");
  return level && std::atoi(level) >= kSilent;
}

}  // namespace

std::int32_t fail(std::int32_t status, const char* function, const std::string& message) {
  if (!is_silent()) std::fprintf(stderr, "[openbpu] %s: %s (%d)\n", function, message.c_str(), status);
  return status;
}

std::int32_t status_of(const runtime::Status& status) {
  using runtime::ErrorCode;
  switch (status.code()) {
    case ErrorCode::Ok:
      return HB_UCP_SUCCESS;
    case ErrorCode::Corrupt:
    case ErrorCode::Illegal:
      return HB_UCP_MODEL_INVALID;
    case ErrorCode::Unsupported:
      return HB_UCP_MODEL_INCOMPATIBLE;
    case ErrorCode::BadArgument:
      return HB_UCP_API_USE_ERROR;
    case ErrorCode::NoMemory:
      return HB_UCP_MEM_ALLOC_FAILED;
    case ErrorCode::Io:
      return HB_UCP_FILE_OPEN_FAILED;
    case ErrorCode::Timeout:
      return HB_UCP_TASK_TIMEOUT;
    case ErrorCode::Cancelled:
    case ErrorCode::Trap:
      return HB_UCP_TASK_RUN_FAILED;
    case ErrorCode::Internal:
      break;
  }
  return HB_UCP_UNKNOWN;
}

}  // namespace openbpu::ucp

using namespace openbpu::ucp;

const char* hbUCPGetVersion(void) { return openbpu::runtime::version(); }

const char* hbUCPGetSocName(void) { return "virtual BPU"; }

const char* hbUCPGetErrorDesc(int32_t status) {
  for (const Description& description : kDescriptions)
    if (description.status == status) return description.text;
  return "unknown status";
}

int32_t hbUCPFlushLog(void) { return std::fflush(stderr) == 0 ? HB_UCP_SUCCESS : HB_UCP_UNKNOWN; }
