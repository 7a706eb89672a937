/* SPDX-License-Identifier: MIT */
int helper(void);
