/*
 * Wire types (virtio 1.4, section 1.4): little-endian integers as one-member structs, so that wire order and host
 * order cannot mix without a compiler error.  Read with le16_get() and friends, make with le16_of().
 */
#ifndef VIO_SPEC_TYPES_H
#define VIO_SPEC_TYPES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VIO_BEGIN_DECLS extern "C" {
#define VIO_END_DECLS }
#define VIO_STATIC_ASSERT static_assert
#define VIO_ALIGNAS(n) alignas(n)
#else
#define VIO_BEGIN_DECLS
#define VIO_END_DECLS
#define VIO_STATIC_ASSERT _Static_assert
#define VIO_ALIGNAS(n) _Alignas(n)
#endif

typedef struct { uint16_t wire; } vio_le16;
typedef struct { uint32_t wire; } vio_le32;
typedef struct { uint64_t wire; } vio_le64;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define VIO_LE_SWAP(bits, v) (v)
#else
#define VIO_LE_SWAP(bits, v) __builtin_bswap##bits(v)
#endif

static inline uint16_t vio_le16_get(vio_le16 v) { return VIO_LE_SWAP(16, v.wire); }
static inline uint32_t vio_le32_get(vio_le32 v) { return VIO_LE_SWAP(32, v.wire); }
static inline uint64_t vio_le64_get(vio_le64 v) { return VIO_LE_SWAP(64, v.wire); }
static inline vio_le16 vio_le16_of(uint16_t v) { vio_le16 r; r.wire = VIO_LE_SWAP(16, v); return r; }
static inline vio_le32 vio_le32_of(uint32_t v) { vio_le32 r; r.wire = VIO_LE_SWAP(32, v); return r; }
static inline vio_le64 vio_le64_of(uint64_t v) { vio_le64 r; r.wire = VIO_LE_SWAP(64, v); return r; }

VIO_STATIC_ASSERT(sizeof(vio_le16) == 2 && sizeof(vio_le32) == 4 && sizeof(vio_le64) == 8, "wire types have no padding");
#endif
