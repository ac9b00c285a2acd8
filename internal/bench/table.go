package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Table writes the report for people.
func (r Report) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "one at a time\tp50\tp99\tmax\t\n")
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", r.Tool, ms(r.Latency.Job.P50), ms(r.Latency.Job.P99), ms(r.Latency.Job.Max))
	fmt.Fprintf(t, "ping\t%s\t%s\t%s\t\n", ms(r.Latency.Ping.P50), ms(r.Latency.Ping.P99), ms(r.Latency.Ping.Max))
	fmt.Fprintf(t, "ratio\t%.1f\t\t\t\n", r.Latency.Ratio)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	fmt.Fprintf(t, "\n")
	fmt.Fprintf(t, "in flight\tjobs\tjobs/s\tp50\tp99\tpings/s\tpings a job\t\n")
	for _, l := range r.Levels {
		fmt.Fprintf(t, "%d\t%d\t%.0f\t%s\t%s\t%.0f\t%.1f\t\n",
			l.InFlight, l.Jobs, l.PerSecond, ms(l.Latency.P50), ms(l.Latency.P99), l.PingsPerSecond, l.Ratio)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

func ms(us float64) string { return fmt.Sprintf("%.2f ms", us/1000) }
