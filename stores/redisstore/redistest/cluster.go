package redistest

import (
	"context"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A Cluster is three masters of a Redis Cluster, without replicas.
type Cluster struct {
	Nodes [3]*Server
}

// StartCluster returns a cluster of processes of its own that serves all slots.
// The test is skipped where there is no redis-server of version 7 or later.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	var c Cluster
	for i := range c.Nodes {
		_, bus, err := net.SplitHostPort(freeAddr(t))
		if err != nil {
			t.Fatal(err)
		}
		c.Nodes[i] = StartOwn(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "2000")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, n := range c.Nodes {
		client := n.Client(t)
		if err := client.Do(ctx, "cluster", "addslotsrange", i*16384/3, (i+1)*16384/3-1).Err(); err != nil {
			t.Fatalf("giving slots to a node: %v", err)
		}
		if i == 0 {
			continue
		}
		host, port, err := net.SplitHostPort(c.Nodes[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		bus := argument(c.Nodes[0].args, "--cluster-port")
		if err := client.Do(ctx, "cluster", "meet", host, port, bus).Err(); err != nil {
			t.Fatalf("having nodes meet: %v", err)
		}
	}
	for _, n := range c.Nodes {
		if err := n.process.says(ctx, "Cluster state changed: ok"); err != nil {
			t.Fatalf("waiting for the cluster: %v", err)
		}
	}
	return &c
}

func argument(args []string, name string) string {
	for i, a := range args {
		if a == name {
			return args[i+1]
		}
	}
	return ""
}

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, n := range c.Nodes {
		all = append(all, n.Addr())
	}
	return all
}

// Client returns a new client, closed with the test.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Owner returns the node that has the slot of key.
func (c *Cluster) Owner(t testing.TB, key string) *Server {
	t.Helper()
	client, err := c.Client(t).MasterForKey(t.Context(), key)
	if err != nil {
		t.Fatalf("looking for the node of %q: %v", key, err)
	}
	for _, n := range c.Nodes {
		if n.Addr() == client.Options().Addr {
			return n
		}
	}
	t.Fatalf("no node has the slot of %q", key)
	return nil
}
