package credits

// A queue holds the updates that wait in a lane, by account: the ones of one
// account in the order in which they came, and the accounts in a ring, from which
// each gives one in its turn.
type queue struct {
	most  int
	n     int
	lines map[AccountID]*line
	first *line // of the ring, whose turn it is
	spare *line // lines that are not in use, by next
}

// A line is the updates of one account.
type line struct {
	account        AccountID
	head, tail     *waiting
	before, behind *line // in the ring
}

func newQueue(most int) queue { return queue{most: most, lines: make(map[AccountID]*line)} }

// push adds w, unless the queue is full.
func (q *queue) push(w *waiting) bool {
	if q.n == q.most {
		return false
	}
	q.n++
	account := w.needs[0].Account
	l := q.lines[account]
	if l == nil {
		l = q.open(account)
	}
	w.line, w.before = l, l.tail
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.behind = w
	}
	l.tail = w
	return true
}

// pop takes out the next one, or returns nil.
func (q *queue) pop() *waiting {
	l := q.first
	if l == nil {
		return nil
	}
	q.first = l.behind
	w := l.head
	q.remove(w)
	return w
}

// remove takes w out, which is in the queue.
func (q *queue) remove(w *waiting) {
	l := w.line
	if w.before == nil {
		l.head = w.behind
	} else {
		w.before.behind = w.behind
	}
	if w.behind == nil {
		l.tail = w.before
	} else {
		w.behind.before = w.before
	}
	w.line, w.before, w.behind = nil, nil, nil
	q.n--
	if l.head == nil {
		q.shut(l)
	}
}

// open makes a line, whose turn comes last.
func (q *queue) open(account AccountID) *line {
	l := q.spare
	if l == nil {
		l = new(line)
	} else {
		q.spare = l.behind
	}
	l.account = account
	q.lines[account] = l
	if q.first == nil {
		l.before, l.behind = l, l
		q.first = l
		return l
	}
	l.before, l.behind = q.first.before, q.first
	l.before.behind, l.behind.before = l, l
	return l
}

// shut takes an empty line out of the ring.
func (q *queue) shut(l *line) {
	delete(q.lines, l.account)
	switch {
	case l.behind == l:
		q.first = nil
	case q.first == l:
		q.first = l.behind
	}
	l.before.behind, l.behind.before = l.behind, l.before
	*l = line{behind: q.spare}
	q.spare = l
}
