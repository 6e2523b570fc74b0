// Ctrl-C and SIGTERM while something is fetched: the work is cancelled and cleaned up, then the program ends by the signal.
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

// From here on the first of them is only noted; a second one ends the program at once. Those that are ignored stay so.
void cli_interrupt_catch(void);
bool cli_is_interrupted(void);
// Ends the program by the signal that was noted, when there was one: a shell sees 130 for SIGINT.
void cli_interrupt_pass_on(void);

#endif
