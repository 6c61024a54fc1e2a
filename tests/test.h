/*
 * The test programs' common ground: cmocka with names that are sentences.
 *
 *   static const struct CMUnitTest tests[] = { T(fn, "what holds {split-dev-13 split-dev-14; only us}"), ... };
 *   int main(void) { return vio_tests("ring", tests, sizeof tests / sizeof *tests); }
 *
 * The braces name the requirements of the specification that the test would catch broken (docs/requirements.tsv) and,
 * after a semicolon, who drove it.  Programs print TAP; tests/run adds it up, `make requirements` reads the braces.
 */
#ifndef VIO_TESTS_TEST_H
#define VIO_TESTS_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define T(fn, sentence) { .name = (sentence), .test_func = (fn) }
#define TS(fn, sentence, state) { .name = (sentence), .test_func = (fn), .initial_state = (void *)(uintptr_t)(state) }

/* The test can't run here: leaves it.  tests/run shows the reason, a sentence's part such as "only root may do this". */
#define SKIP_BECAUSE(reason) do { print_message("# %s\n", (reason)); skip(); } while (0)

static inline int vio_tests(const char *group, const struct CMUnitTest *tests, size_t n)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return _cmocka_run_group_tests(group, tests, n, NULL, NULL);
}
#endif
