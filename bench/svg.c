/* SPDX-License-Identifier: MIT */
#include "svg.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

static const char style[] =
	"<style>\n"
	"text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1f2328}\n"
	".title{font-size:17px;font-weight:600}\n"
	".small{font-size:12px;fill:#57606a}\n"
	".paper{fill:#ffffff}\n"
	".grid{stroke:#d8dee4;stroke-width:1}\n"
	".axis{stroke:#57606a;stroke-width:1.2}\n"
	".line{fill:none;stroke-width:2.2;stroke-linejoin:round}\n"
	".s0{stroke:#0b62b0}.f0{fill:#0b62b0}\n"
	".s1{stroke:#b8500b}.f1{fill:#b8500b}\n"
	".s2{stroke:#1a7f4b}.f2{fill:#1a7f4b}\n"
	".s3{stroke:#9a3399}.f3{fill:#9a3399}\n"
	".s4{stroke:#6a6f00}.f4{fill:#6a6f00}\n"
	".s5{stroke:#57606a}.f5{fill:#57606a}\n"
	"@media (prefers-color-scheme:dark){\n"
	"text{fill:#e6edf3}.small{fill:#9aa4af}.paper{fill:#0d1117}\n"
	".grid{stroke:#30363d}.axis{stroke:#9aa4af}\n"
	".s0{stroke:#58a6ff}.f0{fill:#58a6ff}\n"
	".s1{stroke:#ff9d57}.f1{fill:#ff9d57}\n"
	".s2{stroke:#4fd18b}.f2{fill:#4fd18b}\n"
	".s3{stroke:#e08be0}.f3{fill:#e08be0}\n"
	".s4{stroke:#d3d84a}.f4{fill:#d3d84a}\n"
	".s5{stroke:#9aa4af}.f5{fill:#9aa4af}\n"
	"}\n"
	"</style>\n";

void svg_text(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", f);
		else if (*text == '>')
			fputs("&gt;", f);
		else if (*text == '&')
			fputs("&amp;", f);
		else
			fputc(*text, f);
	}
}

void svg_label(FILE *f, double x, double y, const char *attributes,
	       const char *text)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\"%s%s>", x, y,
		attributes[0] ? " " : "", attributes);
	svg_text(f, text);
	fputs("</text>\n", f);
}

void svg_line(FILE *f, const char *class, double x1, double y1, double x2,
	      double y2)
{
	fprintf(f,
		"<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
		"y2=\"%.1f\"/>\n",
		class, x1, y1, x2, y2);
}

static void begin(const struct svg *s)
{
	fprintf(s->file,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" "
		"height=\"%u\" viewBox=\"0 0 %u %u\" role=\"img\">\n<title>",
		s->width, s->height, s->width, s->height);
	svg_text(s->file, s->title);
	fprintf(s->file,
		"</title>\n%s<rect class=\"paper\" width=\"%u\" height=\"%u\" "
		"rx=\"8\"/>\n",
		style, s->width, s->height);
	svg_label(s->file, 24, 32, "class=\"title\"", s->title);
	svg_label(s->file, 24, 54, "class=\"small\"", s->subtitle);
}

int svg_open(struct svg *s, const char *dir, const char *name, char *error,
	     size_t error_len)
{
	mkdir(dir, 0777); /* fopen() tells if it is there */
	s->file = NULL;
	errno = ENAMETOOLONG;
	if (snprintf(s->path, sizeof(s->path), "%s/%s", dir, name) <
	    (int)sizeof(s->path))
		s->file = fopen(s->path, "we");
	if (!s->file) {
		snprintf(error, error_len, "%s/%s cannot be written: %s", dir,
			 name, strerror(errno));
		return -1;
	}
	begin(s);
	return 0;
}

int svg_close(struct svg *s, char *error, size_t error_len)
{
	bool fine;

	fputs("</svg>\n", s->file);
	fine = !ferror(s->file);
	if (fclose(s->file) == 0 && fine)
		return 0;
	snprintf(error, error_len, "%s cannot be written: %s", s->path,
		 strerror(errno));
	return -1;
}
