"""The module that board scripts import, under our package: `from openbpu.hbm_runtime import HB_HBMRuntime`."""

from openbpu.runtime.hbm import HB_HBMRuntime, QuantParams, SchedParam, hbDNNDataType, hbDNNQuantiType

__all__ = ["HB_HBMRuntime", "QuantParams", "SchedParam", "hbDNNDataType", "hbDNNQuantiType"]
