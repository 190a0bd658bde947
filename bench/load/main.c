/* bayeux-load: a load generator for Bayeux servers with long polling. See README.md. */
#include "load.h"

#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    read_options(argc, argv);
    srand48(getpid());
    latency = calloc(1, sizeof *latency);
    answer_time = calloc(1, sizeof *answer_time);
    lateness = calloc(1, sizeof *lateness);
    if (!latency || !answer_time || !lateness) die("out of memory");
    return run_scenario();
}
