package edge

import (
	"strconv"
	"strings"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/edge/view"
)

// originOf says where the records of a session begin, as record.Record.Origin has it: shard, position and feed of a view
// that has seen nothing, and its dialect, if that is not the open one. With it the numbers of a session's events can be found out from the log alone, for as long as the
// log holds them, also when the session has ended.
func originOf(start view.Checkpoint) string {
	shard := strconv.Itoa(start.Place.Shard)
	if start.Dialect != "" {
		shard += "~" + start.Dialect
	}
	return shard + "/" + strconv.FormatUint(start.Pos, 10) + "/" + start.Place.Feed
}

// parseOrigin returns the checkpoint that an origin stands for. It is false if there is none.
func parseOrigin(text string) (view.Checkpoint, bool) {
	number, rest, _ := strings.Cut(text, "/")
	position, feed, ok := strings.Cut(rest, "/")
	number, name, _ := strings.Cut(number, "~")
	spoken, known := dialect.Named(name)
	shard, err := strconv.Atoi(number)
	if err != nil || !ok || !known || shard < 0 || feed == "" {
		return view.Checkpoint{}, false
	}
	pos, err := strconv.ParseUint(position, 10, 64)
	if err != nil {
		return view.Checkpoint{}, false
	}
	return view.NewOf(spoken, view.Place{Shard: shard, Feed: feed}, pos).Checkpoint(), true
}
