/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the test programs share. */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/rig.h"

static void test_fail(const char *why)
{
	fail_msg("%s", why);
}

static inline int set_up_bare(void **state)
{
	rig_fail = test_fail;
	*state = rig_new();
	return 0;
}

static inline int set_up(void **state)
{
	set_up_bare(state);
	return rig_bring_up(*state) ? 0 : -1;
}

static inline int tear_down(void **state)
{
	rig_free(*state);
	return 0;
}

#define expect(want, got)	assert_int_equal(got, want)
#define ok(got)			assert_int_equal(got, TDX_SUCCESS)
#define out(r, reg)		((r)->out[TDX_##reg])

#define T(f)		cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define T_BARE(f)	cmocka_unit_test_setup_teardown(f, set_up_bare, tear_down)

#define NR(a)		(sizeof(a) / sizeof((a)[0]))

#endif /* TEST_H */
