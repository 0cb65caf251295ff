// SPDX-License-Identifier: LGPL-2.1-or-later
/* Writes the seed corpus of the fuzz target to the directory argv[1]. */
#include "tests/fuzz.h"

#include <stdint.h>
#include <stdio.h>

#define STEPS(...)	(const uint8_t[][4]){ __VA_ARGS__ }, \
	sizeof((const uint8_t[][4]){ __VA_ARGS__ })
#define FRESH		F_FRESH
#define LEVEL(n)	((n) << 3)
#define STAY		0
#define EXIT		64

static const struct {
	const char *name;
	uint8_t ready;
	const uint8_t (*steps)[4];
	size_t size;
} seeds[] = {
	{ "bring-up", 0, STEPS({ F_SYS_INIT }, { F_SYS_LP_INIT, 0 },
		{ F_SYS_LP_INIT, 1 }, { F_SYS_LP_INIT, 2 },
		{ F_SYS_LP_INIT, 3 }, { F_SYS_RD, 0, 0, 12 },
		{ F_POKE_TDMR, 1, 3, 30 }, { F_SYS_CONFIG, 0, 1, 0 },
		{ F_POKE_TDMR, 1, 1, 30 }, { F_SYS_CONFIG, 0, 1, 0 },
		{ F_SYS_KEY_CONFIG, 0 }, { F_SYS_KEY_CONFIG, 2 },
		{ F_TDMR_INIT, 0, 1 }) },
	{ "by-hand", 1, STEPS({ F_MNG_CREATE, 0, 1, FRESH },
		{ F_KEY_CONFIG, 0 }, { F_KEY_CONFIG, 2 },
		{ F_MNG_ADDCX, 0, 0, FRESH }, { F_MNG_ADDCX, 0, 0, FRESH },
		{ F_MNG_ADDCX, 0, 0, FRESH }, { F_MNG_ADDCX, 0, 0, FRESH },
		{ F_MNG_ADDCX, 0, 0, FRESH }, { F_MNG_ADDCX, 0, 0, FRESH },
		{ F_MNG_INIT }, { F_MNG_RD, 0, 0, 6 },
		{ F_SEPT_ADD, 0, 0, LEVEL(3) }, { F_SEPT_ADD, 0, 0, LEVEL(2) },
		{ F_SEPT_ADD, 0, 0, LEVEL(1) }, { F_PAGE_ADD, 0, 0, 0 },
		{ F_MR_EXTEND, 0, 0, 0 }, { F_VP_CREATE, 0, 0, FRESH },
		{ F_VP_ADDCX, 0, 0, FRESH }, { F_VP_ADDCX, 0, 0, FRESH },
		{ F_VP_ADDCX, 0, 0, FRESH }, { F_VP_ADDCX, 0, 0, FRESH },
		{ F_VP_ADDCX, 0, 0, FRESH }, { F_VP_INIT }, { F_VP_RD, 0, 0, 3 },
		{ F_MR_FINALIZE }, { F_VP_ENTER }) },
	{ "remove", 1, STEPS({ F_MAKE_TD, 5 }, { F_PAGE_AUG, 0, 0, 1 },
		{ F_SCRIPT, STAY }, { F_VP_ENTER, 0 },
		{ F_RANGE_BLOCK, 1, 0, 1 }, { F_MEM_TRACK, 1 },
		{ F_PAGE_REMOVE, 1, 0, 1 }, { F_MEM_TRACK, 1 },
		{ F_INTERRUPT, 0, 0xfd }, { F_POLL, 0 },
		{ F_PAGE_REMOVE, 1, 0, 1 }, { F_PAGE_WBINVD, 1, 0, 15 }) },
	{ "huge", 1, STEPS({ F_MAKE_TD, 5 },
		{ F_PAGE_AUG, (32 + 30) << 2, 0, LEVEL(1) | 3 },
		{ F_PAGE_AUG, (32 + 31) << 2, 0, LEVEL(1) | 3 },
		{ F_RANGE_BLOCK, 0, 0, LEVEL(1) | 3 },
		{ F_RANGE_UNBLOCK, 0, 0, LEVEL(1) | 3 },
		{ F_MEM_TRACK }, { F_RANGE_UNBLOCK, 0, 0, LEVEL(1) | 3 }) },
	{ "reclaim", 1, STEPS({ F_MAKE_TD, 5 }, { F_PAGE_AUG, 0, 0, 1 },
		{ F_VP_FLUSH }, { F_FREE_HKID },
		{ F_PAGE_RECLAIM, 0, 0, 0 }, { F_PAGE_RECLAIM, 0, 0, 10 },
		{ F_PAGE_RECLAIM, 0, 0, 1 }, { F_PAGE_RECLAIM, 0, 0, 11 },
		{ F_MAKE_TD, 5 }) },
	{ "interrupted", 1, STEPS({ F_MAKE_TD, 0 }, { F_MAKE_TD, 5, 1 },
		{ F_VPFLUSHDONE }, { F_INTERRUPT, 0, 0x40 }, { F_CACHE_WB },
		{ F_VP_FLUSH }, { F_VPFLUSHDONE, 0, 1 }, { F_CACHE_WB, 0, 1 },
		{ F_CACHE_WB, 2 }, { F_KEY_FREEID }, { F_KEY_FREEID, 0, 1 }) },
	{ "dead", 1, STEPS({ F_MAKE_TD, 5 }, { F_SCRIPT, 242 },
		{ F_VP_ENTER }, { F_VP_ENTER }, { F_MEM_TRACK },
		{ F_SCRIPT, EXIT }, { F_FAULT, 0, 1 | 1 << 3, 1 | 1 << 3 },
		{ F_VP_ENTER }) },
	{ "locked", 1, STEPS({ F_FAULT, 6, 1 | 1 << 3, 4 | 1 << 3 },
		{ F_MAKE_TD, 5 }, { F_PAGE_AUG, 0, 0, 1 }, { F_WAIT, 0, 255 },
		{ F_WAIT, 0, 255 }, { F_PAGE_AUG, 0, 0, 1 }) },
	{ "scenario", 1, STEPS({ F_SCENARIO, 0x82, 30 }, { F_MAKE_TD, 5 },
		{ F_VP_FLUSH }, { F_FREE_HKID }) },
	{ "time", 1, STEPS({ F_MAKE_TD, 5 }, { F_TIME, 100 },
		{ F_PAGE_AUG, 0, 0, 1 }, { F_RANGE_BLOCK, 1, 0, 1 },
		{ F_WAIT, 0, 255 }, { F_RANGE_BLOCK, 1, 0, 1 },
		{ F_MEM_TRACK, 2 }, { F_VP_ENTER, 0 }, { F_WAIT, 0, 255 },
		{ F_PAGE_REMOVE, 3, 0, 1 }) },
};

int main(int argc, char **argv)
{
	if (argc != 2)
		return 1;
	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		char path[4096];
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", argv[1], seeds[i].name);
		f = fopen(path, "wb");
		if (!f || fputc(seeds[i].ready, f) == EOF ||
		    fwrite(seeds[i].steps, 1, seeds[i].size, f) != seeds[i].size ||
		    fclose(f)) {
			perror(path);
			return 1;
		}
	}
	return 0;
}
