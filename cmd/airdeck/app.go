package main

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Set by the Makefile.
var (
	version = "dev"
	commit  = ""
)

func versionText() string {
	v, c := version, commit
	if info, ok := debug.ReadBuildInfo(); ok && v == "dev" {
		if m := info.Main.Version; m != "" && m != "(devel)" {
			v = m
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && c == "" {
				c = s.Value
			}
		}
	}
	if len(c) > 12 {
		c = c[:12]
	}
	if c != "" {
		v += " (" + c + ")"
	}
	return v
}

func newApp() *cli.App {
	return &cli.App{
		Name:                      "airdeck",
		Usage:                     "carry slideshow decks, and any other OCI artifact, across an air gap",
		Version:                   versionText(),
		HideHelpCommand:           true,
		CustomAppHelpTemplate:     cli.AppHelpTemplate + "\n" + exitCodesHelp,
		CommandNotFound:           func(*cli.Context, string) {},
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              onUsageError,
		DisableSliceFlagSeparator: true,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("there is no command %q: see airdeck --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			buildCommand(), pushCommand(), pullCommand(),
			packCommand(), inspectCommand(), verifyCommand(), mirrorCommand(), compareCommand(), unpackCommand(),
			signCommand(), keygenCommand(), listCommand(), pruneCommand(), loginCommand(), logoutCommand(), demoCommand(),
		},
	}
}

func onUsageError(_ *cli.Context, err error, _ bool) error {
	return usagef("%s: see --help", err)
}

// command completes a command: what all of them have in common, and a check of
// the number of arguments.
func command(c *cli.Command, least, most int, run func(ctx context.Context, c *cli.Context, ui *ui) error) *cli.Command {
	c.OnUsageError = onUsageError
	c.HideHelpCommand = true
	c.Flags = append(c.Flags,
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show errors only"},
		&cli.BoolFlag{Name: "json", Usage: "print the result as one JSON document"})
	c.Action = func(cc *cli.Context) error {
		ui := newUI(cc)
		err := check(cc, c, least, most)
		if err == nil {
			err = run(cc.Context, cc, ui)
		}
		return errors.Join(err, ui.failure(err))
	}
	return c
}

// maxJobs is beyond what any registry or disk thanks one for.
const maxJobs = 256

func check(cc *cli.Context, c *cli.Command, least, most int) error {
	if n := cc.NArg(); n < least || most >= 0 && n > most {
		return usagef("usage: airdeck %s %s", c.Name, c.ArgsUsage)
	}
	if j := cc.Int("jobs"); j < 0 || j > maxJobs {
		return usagef("--jobs %d: it is a number from 1 to %d", j, maxJobs)
	}
	if (cc.String("cert-file") == "") != (cc.String("key-file") == "") {
		return usagef("--cert-file and --key-file go together")
	}
	return nil
}

// flagsFirst lets flags stand behind arguments, as in airdeck verify FILE --json:
// package cli stops at the first argument.
func flagsFirst(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	if args[1] == "help" {
		return append([]string{args[0]}, append(args[2:], "--help")...), nil
	}
	cmd := app.Command(args[1])
	if cmd == nil {
		return args, nil
	}
	var flags, rest []string
	for i := 2; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(a) < 2 || a[0] != '-' {
			rest = append(rest, a)
			continue
		}
		if a == "--help" || a == "-h" {
			return []string{args[0], args[1], a}, nil
		}
		flags = append(flags, a)
		if takesValue(cmd, strings.TrimLeft(a, "-")) {
			if i++; i == len(args) || len(args[i]) > 1 && args[i][0] == '-' {
				return nil, usagef("%s needs a value", a)
			}
			flags = append(flags, args[i])
		}
	}
	return slices.Concat(args[:2], flags, []string{"--"}, rest), nil
}

// takesValue is false for names with "=" in them, which bring their value.
func takesValue(cmd *cli.Command, name string) bool {
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			d, ok := f.(cli.DocGenerationFlag)
			return ok && d.TakesValue()
		}
	}
	return false
}

// stdout and stderr are where results and everything else go.
var (
	stdout io.Writer = os.Stdout
	stderr io.Writer = os.Stderr
)
