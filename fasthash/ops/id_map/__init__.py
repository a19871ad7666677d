from fasthash.ops.id_map.op import KERNELS, find_ids, insert_ids, most_ids, new_table

__all__ = ["KERNELS", "find_ids", "insert_ids", "most_ids", "new_table"]
