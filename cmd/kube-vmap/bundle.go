package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/ruleset"
)

func supportBundleCommand() *cobra.Command {
	var (
		file   string
		client agentClient
	)
	cmd := &cobra.Command{
		Use:   "support-bundle",
		Short: "Collect in one archive what helps to find a fault",
		Long: `Support-bundle writes a tar.gz with what there is to know of kube-vmap on this
node: versions, configuration, the ruleset as the kernel has it and as it should
be, counters, status, metrics, the agent's recent log and events, conntrack's
sysctls and the host's addresses. What can't be collected is named in errors.txt.

Read it before you pass it on: it has names and addresses of Services. It has no
credentials: nothing is read of the environment, kubeconfigs or service accounts,
and what looks like a token or a key is cut out.

The file system of a pod may be read-only: --file - writes to standard output.`,
		Example: `  kube-vmap support-bundle
  kubectl -n kube-system exec kube-vmap-x7k2p -- kube-vmap support-bundle --file - > node-a.tar.gz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := &bundle{now: time.Now().UTC()}
			b.collect(cmd.Context(), &client)
			if file == "-" {
				return b.write(cmd.OutOrStdout())
			}
			if file == "" {
				file = "kube-vmap-" + b.now.Format("20060102-150405") + ".tar.gz"
			}
			if err := b.save(file); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d files\n", file, len(b.files))
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "file", "", `where to write, "-" is standard output (default: kube-vmap-TIME.tar.gz here)`)
	client.register(cmd.Flags())
	return cmd
}

// bundle is an archive in the making.
type bundle struct {
	now    time.Time
	files  []bundleFile
	errors []string
}

type bundleFile struct {
	name string
	data []byte
}

func (b *bundle) add(name string, data []byte, err error) {
	if err != nil {
		b.errors = append(b.errors, fmt.Sprintf("%s: %s", name, err))
		return
	}
	b.files = append(b.files, bundleFile{name, redact(data)})
}

func (b *bundle) collect(ctx context.Context, client *agentClient) {
	b.add("version.txt", fmt.Appendf(nil, "kube-vmap %s%s %s %s/%s\nkernel %s\n",
		version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kernel.Release()), nil)
	for name, path := range map[string]string{
		"status.json": "/status", "configuration.json": "/configz", "metrics.txt": "/metrics",
		"log.txt": "/log", "events.txt": "/events", "desired.nft": "/desired", "differences.json": "/diff",
	} {
		data, err := client.get(ctx, path)
		b.add(name, data, err)
	}
	b.kernel()
	b.host()
	if len(b.errors) > 0 {
		b.add("errors.txt", []byte(strings.Join(b.errors, "\n")+"\n"), nil)
	}
}

// kernel collects what the kernel has.
func (b *bundle) kernel() {
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		b.add("ruleset.nft", nil, err)
		return
	}
	defer conn.Close()
	snapshot, err := conn.ReadTable(ruleset.DefaultTable)
	if err == nil && snapshot.Table == nil {
		err = errors.New("there is no table inet " + ruleset.DefaultTable)
	}
	var text bytes.Buffer
	if err == nil {
		fmt.Fprintf(&text, "# generation %d, owned %v, persist %v\n", snapshot.Generation, snapshot.Table.Owned, snapshot.Table.Persist)
		err = snapshot.Table.WriteText(&text)
	}
	b.add("ruleset.nft", text.Bytes(), err)
	tables, err := conn.ListTables()
	b.add("tables.txt", []byte(strings.Join(tables, "\n")+"\n"), err)
	var services bytes.Buffer
	all, err := readFrontends()
	if err == nil {
		err = printJSON(&services, frontendsJSON(all.List, all.Counted))
	}
	b.add("services.json", services.Bytes(), err)
}

// host collects what matters of the host.
func (b *bundle) host() {
	var sysctls bytes.Buffer
	paths, err := filepath.Glob("/proc/sys/net/netfilter/nf_conntrack_*")
	for _, path := range append(paths, "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding") {
		if value, err := os.ReadFile(path); err == nil {
			fmt.Fprintf(&sysctls, "%s = %s", strings.ReplaceAll(strings.TrimPrefix(path, "/proc/sys/"), "/", "."), value)
		}
	}
	b.add("sysctls.txt", sysctls.Bytes(), err)
	var addresses bytes.Buffer
	devices, err := net.Interfaces()
	for i := range devices {
		addrs, err := devices[i].Addrs()
		fmt.Fprintf(&addresses, "%s %s %v", devices[i].Name, devices[i].Flags, addrs)
		if err != nil {
			fmt.Fprintf(&addresses, " %s", err)
		}
		fmt.Fprintln(&addresses)
	}
	b.add("addresses.txt", addresses.Bytes(), err)
}

// save writes the archive to a file that only its owner can read.
func (b *bundle) save(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the bundle: %w; --file says where to, and - is standard output", err)
	}
	return errors.Join(b.write(f), f.Close())
}

func (b *bundle) write(w io.Writer) error {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	dir := "kube-vmap-" + b.now.Format("20060102-150405") + "/"
	for _, f := range b.files {
		header := &tar.Header{Name: dir + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: b.now, Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
		if _, err := archive.Write(f.data); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

// secrets is what looks like a credential: JSON web tokens, bearer tokens, keys,
// passwords in addresses.
var secrets = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?` +
	`|(?i:bearer)\s+[A-Za-z0-9._~+/-]{16,}=*` +
	`|(?i:token|password|passwd|secret)["']?\s*[:=]\s*["']?[A-Za-z0-9._~+/-]{16,}=*` +
	`|(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----` +
	`|://[^/\s:@]+:[^/\s@]+@`)

// redact cuts credentials out. There should be none.
func redact(data []byte) []byte { return secrets.ReplaceAll(data, []byte("[removed]")) }
