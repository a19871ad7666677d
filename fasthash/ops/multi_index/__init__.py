from fasthash.ops.multi_index.op import KERNELS, MAX_CODES, Tables, build_tables, cost_of_build, cost_of_scan

__all__ = ["KERNELS", "MAX_CODES", "Tables", "build_tables", "cost_of_build", "cost_of_scan"]
