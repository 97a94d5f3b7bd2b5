package pgtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long a server may take to start: recovery after a crash, on a
// busy machine, included.
const patience = 2 * time.Minute

// A cluster is a folder with a server's data, and the server while it runs.
type cluster struct {
	programs, dir string
	settings      []string // of the server, as its flags say them, beside those of start
	as            *syscall.Credential
	log           log

	server *exec.Cmd
	guard  *exec.Cmd     // ends the server when this process is gone
	gone   chan struct{} // closed when no process of the server is left
}

// newCluster makes a folder with the data of an empty server of those settings.
func newCluster(settings ...string) (*cluster, error) {
	programs, err := programs()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest") // short: the name of a socket has at most 107 bytes
	if err != nil {
		return nil, err
	}
	c := &cluster{programs: programs, dir: dir, settings: settings, as: as}
	if as != nil {
		err = os.Chown(dir, int(as.Uid), int(as.Gid))
	}
	if err == nil {
		err = c.initialize()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

func (c *cluster) initialize() error {
	var said bytes.Buffer
	cmd := c.command("initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, &said)
	}
	return nil
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// url returns how to reach a database of the server.
func (c *cluster) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database}
	u.RawQuery = url.Values{"host": {c.dir}}.Encode()
	return u.String()
}

// command prepares a program of PostgreSQL, in a process group of its own, so
// that a signal from the terminal is the test's alone.
func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.programs, name), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + c.programs + ":/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.as}
	return cmd
}

// start runs the server and returns when it answers.
func (c *cluster) start(ctx context.Context) error {
	args := []string{"-D", c.data(), "-k", c.dir,
		"-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-c", "max_connections=200"}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	cmd := c.command("postgres", args...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.server = cmd
	ready := make(chan struct{})
	c.gone = make(chan struct{})
	go func() {
		defer close(c.gone) // every process of the server holds the pipe
		c.log.read(pipe, ready)
	}()
	if err := c.watch(); err != nil {
		return errors.Join(err, c.kill())
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-ready:
		return nil
	case <-c.gone:
		err = errors.Join(errors.New("PostgreSQL ended before it was ready"), c.unwatch(), c.reap())
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), c.kill())
	}
	return fmt.Errorf("%w\n%s", err, &c.log)
}

// watch starts a process that ends the server and removes its folder once this
// process is gone, however it went.
func (c *cluster) watch() error {
	const script = `cat; kill -QUIT "$1" || exit; while kill -0 "$1"; do sleep 0.1; done; rm -rf "$2"`
	guard := exec.Command("/bin/sh", "-c", script, "sh", strconv.Itoa(c.server.Process.Pid), c.dir)
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.as}
	guard.Dir = "/"
	if _, err := guard.StdinPipe(); err != nil { // never written to; closed when this process ends
		return err
	}
	if err := guard.Start(); err != nil {
		return err
	}
	c.guard = guard
	return nil
}

// unwatch ends the guard, before the server's process ID can be anybody else's.
func (c *cluster) unwatch() error {
	if c.guard == nil {
		return nil
	}
	err := syscall.Kill(-c.guard.Process.Pid, syscall.SIGKILL) // the shell and its cat
	_ = c.guard.Wait()                                         // it was killed
	c.guard = nil
	return err
}

// kill ends the server and its children as a crash would: nothing is written.
func (c *cluster) kill() error {
	if c.server == nil {
		return nil
	}
	err := c.unwatch()
	// Stopped, the server cannot start a child that is not in the list.
	pid := c.server.Process.Pid
	err = errors.Join(err, c.server.Process.Signal(syscall.SIGSTOP))
	for _, child := range children(pid) {
		_ = syscall.Kill(child, syscall.SIGKILL) // it may have ended by itself
	}
	err = errors.Join(err, c.server.Process.Kill())
	<-c.gone
	return errors.Join(err, c.reap())
}

// stop ends the server without a checkpoint, but with nothing of it left in the
// kernel.
func (c *cluster) stop() error {
	if c.server == nil {
		return nil
	}
	err := errors.Join(c.unwatch(), c.server.Process.Signal(syscall.SIGQUIT))
	<-c.gone
	return errors.Join(err, c.reap())
}

func (c *cluster) reap() error {
	err := c.server.Wait()
	c.server = nil
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return nil // by a signal, or by itself: both were wanted or are told of already
	}
	return err
}

// remove stops the server and removes its folder.
func (c *cluster) remove() error { return errors.Join(c.stop(), os.RemoveAll(c.dir)) }

// children returns the processes that pid started, where the system tells; of
// others PostgreSQL's end by themselves when their server is gone.
func children(pid int) []int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var all []int
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(all, child)
		}
	}
	return all
}

// A log keeps what a server says.
type log struct {
	mu    sync.Mutex
	lines []string
}

// read keeps lines until there are no more, and closes ready when the server
// says that it is.
func (l *log) read(r io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l.add(lines.Text())
		if ready != nil && strings.Contains(lines.Text(), "database system is ready to accept connections") {
			close(ready)
			ready = nil
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line that is too long must not stop the server
}

func (l *log) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// String returns the last lines.
func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-50):], "\n")
}
