package credits

import "crypto/sha256"

// A merkleTree is the tree of RFC 9162, section 2.1: leaves and nodes are hashed
// with different first bytes, so that none can be taken for the other, and a node
// without a sibling goes up as it is. levels[0] is the leaves' hashes, the last
// level the root alone.
type merkleTree struct{ levels [][]Hash }

func leafHash(data []byte) Hash {
	var scratch [512]byte
	return sha256.Sum256(append(append(scratch[:0], 0), data...))
}

func nodeHash(left, right Hash) Hash {
	b := [1 + 2*sha256.Size]byte{1}
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

func newMerkleTree(leaves []Hash) merkleTree {
	t := merkleTree{[][]Hash{leaves}}
	for level := leaves; len(level) > 1; {
		up := make([]Hash, 0, (len(level)+1)/2)
		for i := 0; i+1 < len(level); i += 2 {
			up = append(up, nodeHash(level[i], level[i+1]))
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		t.levels = append(t.levels, up)
		level = up
	}
	return t
}

// root of a tree without leaves is the hash of nothing.
func (t *merkleTree) root() Hash {
	if len(t.levels[0]) == 0 {
		return sha256.Sum256(nil)
	}
	return t.levels[len(t.levels)-1][0]
}

// proof returns the siblings on the way from leaf i to the root.
func (t *merkleTree) proof(i int) []Hash {
	var proof []Hash
	for _, level := range t.levels[:len(t.levels)-1] {
		if sibling := i ^ 1; sibling < len(level) {
			proof = append(proof, level[sibling])
		}
		i /= 2
	}
	return proof
}

// merkleRoot returns the root that a proof gives for leaf i of n, and false when
// no tree of n leaves has a proof of that length.
func merkleRoot(leaf Hash, i, n int64, proof []Hash) (Hash, bool) {
	if i < 0 || i >= n {
		return Hash{}, false
	}
	for last := n - 1; last > 0; i, last = i/2, last/2 {
		if i%2 == 0 && i == last {
			continue // it goes up as it is
		}
		if len(proof) == 0 {
			return Hash{}, false
		}
		if i%2 == 0 {
			leaf = nodeHash(leaf, proof[0])
		} else {
			leaf = nodeHash(proof[0], leaf)
		}
		proof = proof[1:]
	}
	return leaf, len(proof) == 0
}
