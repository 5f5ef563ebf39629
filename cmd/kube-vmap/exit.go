package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// exitError is an error with an exit code of its own. Quiet ones say nothing: the
// command has said it.
type exitError struct {
	code  int
	err   error
	quiet bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// The exit codes. Commands that answer a question tell "no" from "can't tell".
const (
	exitNo     = 1
	exitUntold = 2
)

// answered makes the exit code of an answer.
func answered(yes bool) error {
	if yes {
		return nil
	}
	return &exitError{code: exitNo, err: errors.New("the answer is no"), quiet: true}
}

// untold wraps an error that kept a command from answering.
func untold(err error) error {
	var coded *exitError
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return &exitError{code: exitUntold, err: err}
}

// question makes a command whose mistakes in arguments and flags, too, keep it from
// answering.
func question(cmd *cobra.Command) *cobra.Command {
	args := cmd.Args
	cmd.Args = func(cmd *cobra.Command, given []string) error { return untold(args(cmd, given)) }
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return untold(err) })
	return cmd
}

// exitCode is the process's exit code for an error, and whether to print it.
func exitCode(err error) (code int, silent bool) {
	var e *exitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &e):
		return e.code, e.quiet
	}
	return 1, false
}

func exitCodesHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Every command ends with 0 if it did what it was asked, and with 1 and one line on
standard error if not. Commands that answer a question tell three answers apart:

  command    0                              1                              2
  status     the table serves, all is well  something is wrong             it can't be told
  explain    connections are forwarded,     none are: refused, dropped,    it can't be told
             from some clients at least     or no Service's
  diff       the table is what the objects  it differs                     it can't be told
             ask for
  trace      packets came                   none came                      it can't trace

Ended by a signal (Ctrl-C) a command ends with the code of what it has told.`,
	}
}
