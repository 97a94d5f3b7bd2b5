//go:build !unix

package redistest

import "errors"

var errPause = errors.New("this operating system cannot pause a process")

func (p *process) pause() error  { return errPause }
func (p *process) resume() error { return errPause }
