// Fluxoci pushes and pulls the artifacts of Flux over plain HTTP, with the
// library that the flux command does it with, and takes the arguments of that
// command. It stands in for flux, which go install can't build: its go.mod has
// replace directives. It is a module of its own so that airdeck does not depend on
// Flux.
//
//	fluxoci push artifact oci://HOST/REPO:TAG --path DIR --source URL --revision REV
//	fluxoci pull artifact oci://HOST/REPO:TAG --output DIR
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/fluxcd/pkg/oci"
	"github.com/google/go-containerregistry/pkg/crane"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fluxoci:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 3 || args[1] != "artifact" {
		return errors.New("usage: fluxoci push|pull artifact oci://HOST/REPO:TAG [flags]")
	}
	url, err := oci.ParseArtifactURL(args[2])
	if err != nil {
		return err
	}
	client := oci.NewClient(append(oci.DefaultOptions(), crane.Insecure))
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "push":
		var meta oci.Metadata
		path := flags.String("path", "", "the directory to push")
		flags.StringVar(&meta.Source, "source", "", "where it comes from")
		flags.StringVar(&meta.Revision, "revision", "", "which revision of the source it is")
		if err := flags.Parse(args[3:]); err != nil {
			return err
		}
		_, err = client.Push(ctx, url, *path, oci.WithPushMetadata(meta))
	case "pull":
		output := flags.String("output", "", "the directory to write to")
		if err := flags.Parse(args[3:]); err != nil {
			return err
		}
		_, err = client.Pull(ctx, url, *output)
	default:
		err = fmt.Errorf("%s: there is push and pull", args[0])
	}
	return err
}
