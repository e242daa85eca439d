package layout

// Event is one step of a long operation.
type Event struct {
	Kind  EventKind
	Phase string // what is being done, such as "fetching"; a step may run beside others
	Bytes int64  // EventStart: all that is to come; EventAdvance: what came since the last event
	Text  string // EventNote: what a person should know
}

// EventKind says what an [Event] tells.
type EventKind uint8

// The kinds of events.
const (
	EventStart EventKind = iota
	EventAdvance
	EventFinish
	EventNote
)

// Progress takes the events of an operation. It is called from several
// goroutines at once. nil is silent.
type Progress func(Event)

// Start says that a phase of so many bytes begins.
func (p Progress) Start(phase string, bytes int64) {
	if p != nil {
		p(Event{Kind: EventStart, Phase: phase, Bytes: bytes})
	}
}

// Advance says that so many more bytes of a phase are done.
func (p Progress) Advance(phase string, bytes int64) {
	if p != nil {
		p(Event{Kind: EventAdvance, Phase: phase, Bytes: bytes})
	}
}

// Finish says that a phase has ended.
func (p Progress) Finish(phase string) {
	if p != nil {
		p(Event{Kind: EventFinish, Phase: phase})
	}
}

// Note tells something that a person should know.
func (p Progress) Note(text string) {
	if p != nil {
		p(Event{Kind: EventNote, Text: text})
	}
}
