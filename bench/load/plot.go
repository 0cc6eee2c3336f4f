package load

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// The plot: throughput to the right, latency upwards on a logarithmic scale, a line per system,
// workload and percentile.
const (
	plotWidth, plotHeight         = 980, 520
	plotLeft, plotRight           = 80, 350 // margins; the right one holds the legend
	plotTop, plotBottom           = 40, 60
	legendStep, tickLength, ticks = 18, 5, 5
)

var plotColors = []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf",
	"#8c564b"}

var plotted = []struct {
	name, dash string
	of         func(l *Latency) time.Duration
}{
	{"p50", "", func(l *Latency) time.Duration { return l.P50 }},
	{"p99", "6,3", func(l *Latency) time.Duration { return l.P99 }},
	{"p99.9", "2,3", func(l *Latency) time.Duration { return l.P999 }},
}

// WriteSVG draws latency by load.
func (r *Report) WriteSVG(w io.Writer) error {
	var b strings.Builder
	p := newPlot(r.Rows)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" `+
		`font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="15">latency by load, %s</text>`+"\n", plotLeft,
		html.EscapeString(r.Machine))
	p.axes(&b)
	for i, name := range p.names {
		p.series(&b, i, name, r.Rows)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

type plot struct {
	names         []string
	rateMax       float64
	lowest, upper float64 // powers of ten, in microseconds
}

// seriesName is the workload at any rate.
func seriesName(r *Row) string {
	anyRate := *r
	anyRate.Rate = 0
	return r.System + " " + anyRate.Workload()
}

func newPlot(rows []Row) *plot {
	p := &plot{rateMax: 1, lowest: math.Inf(1), upper: math.Inf(-1)}
	for i := range rows {
		r := &rows[i]
		if name := seriesName(r); !slices.Contains(p.names, name) {
			p.names = append(p.names, name)
		}
		p.rateMax = max(p.rateMax, r.PerSecond)
		for _, percentile := range plotted {
			if value := percentile.of(&r.Latency); value > 0 {
				p.lowest = min(p.lowest, math.Floor(math.Log10(float64(value)/1e3)))
				p.upper = max(p.upper, math.Ceil(math.Log10(float64(value)/1e3)))
			}
		}
	}
	if math.IsInf(p.lowest, 0) {
		p.lowest, p.upper = 2, 3 // nothing was measured: some axis
	}
	if p.lowest == p.upper {
		p.lowest--
	}
	return p
}

func (p *plot) x(rate float64) float64 {
	return plotLeft + rate/p.rateMax*(plotWidth-plotLeft-plotRight)
}

func (p *plot) y(latency time.Duration) float64 {
	share := (math.Log10(max(float64(latency)/1e3, 1e-3)) - p.lowest) / (p.upper - p.lowest)
	return plotHeight - plotBottom - share*(plotHeight-plotTop-plotBottom)
}

func (p *plot) axes(b *strings.Builder) {
	const bottom, right = plotHeight - plotBottom, plotWidth - plotRight
	fmt.Fprintf(b, `<path d="M%d %dV%dH%d" fill="none" stroke="black"/>`+"\n", plotLeft, plotTop,
		bottom, right)
	for i := range ticks + 1 {
		rate := p.rateMax * float64(i) / ticks
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.4g</text>`+"\n", p.x(rate),
			bottom+tickLength+14, rate)
	}
	for power := p.lowest; power <= p.upper; power++ {
		latency := time.Duration(math.Pow(10, power) * 1e3)
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/>`+"\n", plotLeft, p.y(latency), right)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft-tickLength,
			p.y(latency)+4, latency)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">commands per second</text>`+"\n",
		(plotLeft+right)/2, plotHeight-15)
}

func (p *plot) series(b *strings.Builder, index int, name string, rows []Row) {
	color := plotColors[index%len(plotColors)]
	var points []*Row
	for i := range rows {
		if seriesName(&rows[i]) == name && rows[i].Latency.Count > 0 {
			points = append(points, &rows[i])
		}
	}
	slices.SortStableFunc(points, func(a, b *Row) int {
		// By the wanted rate, so that the line bends back where the server is overloaded.
		return cmp.Or(cmp.Compare(a.Rate, b.Rate), cmp.Compare(a.PerSecond, b.PerSecond))
	})
	for i, percentile := range plotted {
		y := plotTop + (index*len(plotted)+i)*legendStep
		fmt.Fprintf(b, `<path d="M%d %dh24" stroke="%s" stroke-dasharray="%s"/><text x="%d" y="%d">%s `+
			"%s</text>\n", plotWidth-plotRight+10, y, color, percentile.dash, plotWidth-plotRight+40,
			y+4, html.EscapeString(name), percentile.name)
		var line []string
		for _, r := range points {
			x, y := p.x(r.PerSecond), p.y(percentile.of(&r.Latency))
			line = append(line, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>`+"\n", x, y, color)
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-dasharray="%s"/>`+"\n",
			strings.Join(line, " "), color, percentile.dash)
	}
}
