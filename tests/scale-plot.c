/* SPDX-License-Identifier: MIT */
/*
 * The plot of `make bench-scale`: a panel for each thing that grows, a line for each face, and
 * what linear growth would be. An SVG that reads on light and on dark ground.
 */
#include "scale.h"

#include <math.h>
#include <stdio.h>

enum {
	PANEL_W = 250,
	PANEL_H = 260,
	LEFT = 62,
	TOP = 66,
	GAP = 52,
	BOTTOM = 58,
	DECADES_MAX = 8,
};

static const char *const colours[FACES] = {"claim", "release", "sync"};

static double low, high; /* of all costs, as powers of ten */

static void span(void)
{
	low = 1e9;
	high = -1e9;
	for (int s = 0; s < SERIES; s++)
		for (int p = 0; p < series[s].n; p++)
			for (int f = 0; f < FACES; f++) {
				double l = log10(fmax(series[s].ms[p][f][CPU], 1e-3));

				low = fmin(low, floor(l));
				high = fmax(high, ceil(l));
			}
	if (high - low > DECADES_MAX)
		low = high - DECADES_MAX;
}

static double x_of(const struct series *s, double x)
{
	return log10(x) / log10(s->x[s->n - 1]) * PANEL_W;
}

static double y_of(double ms)
{
	return PANEL_H - (log10(fmax(ms, 1e-3)) - low) / (high - low) * PANEL_H;
}

/* 1000 as 1,000; tenths of milliseconds as they are. */
static void number(FILE *f, double n)
{
	if (n >= 1000)
		fprintf(f, "%d,%03d", (int)n / 1000, (int)n % 1000);
	else
		fprintf(f, "%g", n);
}

static void axes(FILE *f, const struct series *s, bool first)
{
	for (double l = low; l <= high; l++) {
		double y = y_of(pow(10, l));

		fprintf(f, "<path class=\"grid\" d=\"M0 %.1fH%d\"/>\n", y, PANEL_W);
		if (!first)
			continue;
		fprintf(f, "<text x=\"-8\" y=\"%.1f\" class=\"end\">", y + 4);
		number(f, pow(10, l));
		fprintf(f, "</text>\n");
	}
	for (int p = 0; p < s->n; p++) {
		fprintf(f, "<path class=\"grid\" d=\"M%.1f 0V%d\"/>\n", x_of(s, s->x[p]), PANEL_H);
		fprintf(f, "<text x=\"%.1f\" y=\"%d\" class=\"mid\">", x_of(s, s->x[p]),
			PANEL_H + 18);
		number(f, s->x[p]);
		fprintf(f, "</text>\n");
	}
	fprintf(f, "<path class=\"axis\" d=\"M0 0V%dH%d\"/>\n", PANEL_H, PANEL_W);
	fprintf(f, "<text x=\"%d\" y=\"%d\" class=\"mid name\">%s</text>\n", PANEL_W / 2,
		PANEL_H + 40, s->what);
}

/* From the cheapest first point on, cost for cost what is counted. */
static void linear(FILE *f, const struct series *s)
{
	double from = 1e9, to, x = s->x[s->n - 1];

	for (int i = 0; i < FACES; i++)
		from = fmin(from, s->ms[0][i][CPU]);
	to = from * x;
	if (to > pow(10, high)) {
		x *= pow(10, high) / to;
		to = pow(10, high);
	}
	fprintf(f, "<path class=\"linear\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", x_of(s, 1), y_of(from),
		x_of(s, x), y_of(to));
}

static void lines(FILE *f, const struct series *s)
{
	for (int i = 0; i < FACES; i++) {
		fprintf(f, "<path class=\"line %s\" d=\"", colours[i]);
		for (int p = 0; p < s->n; p++)
			fprintf(f, "%c%.1f %.1f", p ? 'L' : 'M', x_of(s, s->x[p]),
				y_of(s->ms[p][i][CPU]));
		fprintf(f, "\"/>\n");
		for (int p = 0; p < s->n; p++) {
			fprintf(f, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\">"
				"<title>%s, ", colours[i], x_of(s, s->x[p]),
				y_of(s->ms[p][i][CPU]), face_names[i]);
			number(f, s->x[p]);
			fprintf(f, " %s: %.2f ms of CPU, %.2f ms to the end</title></circle>\n",
				s->what, s->ms[p][i][CPU], s->ms[p][i][EXIT]);
		}
	}
}

static void legend(FILE *f)
{
	static const char *const means[FACES] = {
		"claim, as Sentinel calls it", "release", "sync of all, nothing to change"};
	int x = LEFT;

	for (int i = 0; i < FACES; i++) {
		fprintf(f, "<path class=\"line %s\" d=\"M%d 44h22\"/>"
			"<circle class=\"dot %s\" cx=\"%d\" cy=\"44\" r=\"3.5\"/>"
			"<text x=\"%d\" y=\"48\">%s</text>\n", colours[i], x, colours[i], x + 11,
			x + 28, means[i]);
		x += 215;
	}
	fprintf(f, "<path class=\"linear\" d=\"M%d 44h22\"/><text x=\"%d\" y=\"48\">linear</text>\n", x,
		x + 28);
}

void scale_plot(const char *path)
{
	const int w = LEFT + SERIES * PANEL_W + (SERIES - 1) * GAP + 24, h = TOP + PANEL_H + BOTTOM;
	FILE *f = fopen(path, "we");

	if (!f)
		lab_fail("%s: %m", path);
	span();
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
		"aria-label=\"Processor time of claim, release and sync as VIPs, masters and other "
		"addresses grow\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n"
		"<style>\n"
		"svg { background: #fff } text { fill: #1f2328 } .end { text-anchor: end } "
		".mid { text-anchor: middle }\n"
		".title { font-size: 15px; font-weight: 600 }\n"
		".grid { stroke: #d8dee4 } .axis { stroke: #59636e; fill: none }\n"
		".line { fill: none; stroke-width: 2 } "
		".linear { stroke: #59636e; stroke-dasharray: 4 4; fill: none }\n"
		".line.claim { stroke: #0a58ca } .dot.claim { fill: #0a58ca }\n"
		".line.release { stroke: #b3541e } .dot.release { fill: #b3541e }\n"
		".line.sync { stroke: #1a7f37 } .dot.sync { fill: #1a7f37 }\n"
		"@media (prefers-color-scheme: dark) { svg { background: #0d1117 } "
		"text { fill: #e6edf3 } .grid { stroke: #30363d } .axis, .linear { stroke: #9198a1 }\n"
		".line.claim { stroke: #79b8ff } .dot.claim { fill: #79b8ff } "
		".line.release { stroke: #f0883e } .dot.release { fill: #f0883e } "
		".line.sync { stroke: #56d364 } .dot.sync { fill: #56d364 } }\n"
		"</style>\n"
		"<text x=\"%d\" y=\"22\" class=\"title\">What a run costs as things grow</text>\n",
		w, h, LEFT);
	legend(f);
	fprintf(f, "<text transform=\"translate(16 %d) rotate(-90)\" class=\"mid\">"
		"processor time, ms</text>\n", TOP + PANEL_H / 2);
	for (int s = 0; s < SERIES; s++) {
		fprintf(f, "<g transform=\"translate(%d %d)\">\n", LEFT + s * (PANEL_W + GAP), TOP);
		axes(f, &series[s], s == 0);
		linear(f, &series[s]);
		lines(f, &series[s]);
		fprintf(f, "</g>\n");
	}
	fprintf(f, "</svg>\n");
	if (fclose(f) != 0)
		lab_fail("%s: %m", path);
}
