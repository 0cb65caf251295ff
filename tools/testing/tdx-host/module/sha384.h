/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-384 (FIPS 180-4), for the build-time measurement of a TD. */
#ifndef TDM_SHA384_H
#define TDM_SHA384_H

#include <stddef.h>
#include <stdint.h>

#define SHA384_BLOCK	128
#define SHA384_DIGEST	48

struct sha384 {
	uint64_t h[8];
	uint64_t bytes;
	uint8_t block[SHA384_BLOCK];
};

void tdm_sha384_init(struct sha384 *s);
void tdm_sha384_update(struct sha384 *s, const void *data, size_t len);
void tdm_sha384_final(struct sha384 *s, uint8_t digest[SHA384_DIGEST]);

#endif /* TDM_SHA384_H */
