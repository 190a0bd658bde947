/* Tells callgrind what to count; outside of valgrind, these do nothing. */

#include <valgrind/callgrind.h>

void count_from_here(void)
{
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
}

/* Writes down what was counted, under a name, and stops. */
void count_to_here(const char *name)
{
	CALLGRIND_DUMP_STATS_AT(name);
	CALLGRIND_STOP_INSTRUMENTATION;
}
