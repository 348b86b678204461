"""Masking (RFC 6455, 5.3). Whoever masks unmasks: it is the same operation."""

__all__ = ["apply_mask"]


def apply_mask_slowly(data: bytes | bytearray | memoryview, mask: bytes | bytearray) -> bytes:
    """By one operation on large integers: a hundred times slower than C, and right."""
    size = len(data)
    key = (bytes(mask) * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


try:
    # Every machine that the websockets package has a wheel for has it: 1 µs for 64 KB.
    from websockets.speedups import apply_mask
except ImportError:  # PyPy, or built without a C compiler
    apply_mask = apply_mask_slowly
