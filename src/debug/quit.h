/* SPDX-License-Identifier: MIT */
/* quit.h: SIGQUIT (^\ in a terminal) shows what every goroutine does, as in Go. */
#ifndef BL__DEBUG_QUIT_H
#define BL__DEBUG_QUIT_H

/* Handles SIGQUIT unless the program does or was told not to (choice: BL_QUIT_…), and gives it
 * back. */
void bl__quit_install(int choice);
void bl__quit_uninstall(void);
void bl__quit_wait(void); /* for what is being printed; sysmon has ended */

/* By sysmon, when SIGQUIT has come: prints every goroutine, and ends the process or goes on. */
void bl__quit_deliver(void);

#endif
