/* SPDX-License-Identifier: MIT */
/* What the measurement of scale.c and the plot of scale-plot.c share. */
#ifndef SCALE_H
#define SCALE_H

#include "lab.h"

#include <fcntl.h>

enum { VIPS, MASTERS_GROW, OTHERS, SERIES, POINTS_MAX = 5 };
enum face { CLAIM, RELEASE, SYNC, FACES };
enum cost { FRAME, EXIT, CPU, COSTS };

/* One thing that grows. */
struct series {
	const char *what;
	int n, x[POINTS_MAX];
	double ms[POINTS_MAX][FACES][COSTS]; /* medians; NAN: nothing */
};

extern struct series series[SERIES];
extern const char *const face_names[FACES], *const cost_names[COSTS];

/* Draws all series into a file: processor time over the number, both logarithmic. */
void scale_plot(const char *path);

#endif
