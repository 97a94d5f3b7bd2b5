package redistest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// A process is a running server and what it has said.
type process struct {
	cmd *exec.Cmd
	// guard ends the server when this test's process dies without its cleanup.
	guard   *exec.Cmd
	release io.Closer
	reading sync.WaitGroup

	mu    sync.Mutex
	lines []string
	over  bool
	more  chan struct{} // closed and replaced when something was said
}

// launch starts a server that logs to its standard output.
func launch(binary string, args []string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), more: make(chan struct{})} // ended by end
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.reading.Go(func() { p.read(out) })
	if sh, err := exec.LookPath("sh"); err == nil {
		p.guard = exec.Command(sh, "-c", "read x; kill -9 "+strconv.Itoa(p.cmd.Process.Pid)) // ended by end
		if p.release, err = p.guard.StdinPipe(); err == nil {
			err = p.guard.Start()
		}
		if err != nil {
			p.guard = nil
		}
	}
	return p, nil
}

// read keeps what the server says, until it ends.
func (p *process) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.note(lines.Text(), false)
	}
	p.note("", true)
}

func (p *process) note(line string, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines, p.over = append(p.lines, line), over
	close(p.more)
	p.more = make(chan struct{})
}

// says waits until the server has said text.
func (p *process) says(ctx context.Context, text string) error {
	for {
		p.mu.Lock()
		all, over, more := strings.Join(p.lines, "\n"), p.over, p.more
		p.mu.Unlock()
		switch {
		case strings.Contains(all, text):
			return nil
		case over:
			return fmt.Errorf("it ended, saying:\n%s", all)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("it did not say %q in time, but:\n%s", text, all)
		}
	}
}

// end kills the server and waits until it is gone.
func (p *process) end() {
	if p.guard != nil { // first, so that it never kills whoever has the number next
		_ = p.guard.Process.Kill()
		_ = p.guard.Wait()
		_ = p.release.Close()
	}
	_ = p.cmd.Process.Kill()
	p.reading.Wait()
	_ = p.cmd.Wait()
}
