package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// plot is a drawing of a figure against the size of the cluster, both axes
// logarithmic.
type plot struct {
	file, title, unit string
	value             func(*Figures) (float64, bool)
}

var plots = []plot{
	{"performance-update.svg", "One endpoint changes: time until packets reach the new one, p50", "ms",
		lone(func(u *Update) float64 { return u.New.P50 })},
	{"performance-start.svg", "Cold start: time until each Service is reachable", "s",
		cold(func(c *ColdStart) float64 { return c.Ready })},
}

const (
	plotWidth, plotHeight         = 640, 360
	plotLeft, plotRight           = 70, 20
	plotTop, plotBottom   float64 = 50, 50
)

var plotColors = map[AgentKind]string{KubeVmap: "#0b6e4f", KubeProxy: "#c1440e"}

// point is a scale's figure.
type point struct{ x, y float64 }

// draw makes the SVG. Scales are placed by their number of endpoints.
func (p *plot) draw(r *Result) string {
	lines := map[AgentKind][]point{}
	var xs, ys []float64
	for _, s := range r.Scales {
		for _, k := range kinds {
			f := s.Agents[k]
			if f == nil || s.Services < smallest {
				continue
			}
			if v, ok := p.value(f); ok {
				pt := point{float64(s.Services * s.Endpoints), max(v, 0.01)}
				lines[k] = append(lines[k], pt)
				xs, ys = append(xs, pt.x), append(ys, pt.y)
			}
		}
	}
	var sb strings.Builder
	fmt.Fprintf(&sb, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&sb, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&sb, `<text x="%d" y="22" font-size="14">%s</text>`+"\n", plotLeft, p.title)
	if len(xs) > 0 {
		a := axes{decades(xs), decades(ys)}
		a.grid(&sb, p.unit)
		for i, k := range kinds {
			a.line(&sb, k, i, lines[k])
		}
	}
	sb.WriteString("</svg>\n")
	return sb.String()
}

// axes are the decades that are shown, first and last.
type axes struct{ x, y [2]float64 }

func decades(values []float64) [2]float64 {
	low, high := math.Floor(math.Log10(slices.Min(values))), math.Ceil(math.Log10(slices.Max(values)))
	return [2]float64{low, max(high, low+1)}
}

func (a axes) at(p point) (x, y float64) {
	x = plotLeft + (math.Log10(p.x)-a.x[0])/(a.x[1]-a.x[0])*(plotWidth-plotLeft-plotRight)
	y = plotHeight - plotBottom - (math.Log10(p.y)-a.y[0])/(a.y[1]-a.y[0])*(plotHeight-plotTop-plotBottom)
	return x, y
}

func (a axes) grid(sb *strings.Builder, unit string) {
	for d := a.x[0]; d <= a.x[1]; d++ {
		x, low := a.at(point{math.Pow(10, d), math.Pow(10, a.y[0])})
		_, high := a.at(point{1, math.Pow(10, a.y[1])})
		fmt.Fprintf(sb, `<path d="M%.1f %.1fV%.1f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n",
			x, low, high, x, low+18, tick(d))
	}
	for d := a.y[0]; d <= a.y[1]; d++ {
		left, y := a.at(point{math.Pow(10, a.x[0]), math.Pow(10, d)})
		right, _ := a.at(point{math.Pow(10, a.x[1]), 1})
		fmt.Fprintf(sb, `<path d="M%.1f %.1fH%.1f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%s %s</text>`+"\n",
			left, y, right, left-6, y+4, tick(d), unit)
	}
	fmt.Fprintf(sb, `<text x="%d" y="%d" text-anchor="middle">endpoints in the cluster</text>`+"\n", plotWidth/2, plotHeight-12)
}

func tick(decade float64) string { return fmt.Sprintf("%g", math.Pow(10, decade)) }

// line draws an agent's figures and its name in the i-th line of the legend.
func (a axes) line(sb *strings.Builder, k AgentKind, i int, points []point) {
	slices.SortFunc(points, func(p, q point) int { return int(p.x - q.x) })
	color, path := plotColors[k], ""
	for n, p := range points {
		x, y := a.at(p)
		path += fmt.Sprintf("%s%.1f %.1f", [...]string{"M", "L"}[min(n, 1)], x, y)
		fmt.Fprintf(sb, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"><title>%s</title></circle>`+"\n", x, y, color, figure(p.y))
	}
	fmt.Fprintf(sb, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", path, color)
	fmt.Fprintf(sb, `<text x="%d" y="40" fill="%s">● %s</text>`+"\n", plotLeft+110*i, color, k)
}
