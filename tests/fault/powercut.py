"""What is on a disk after the power failed: recorded calls are replayed up to a point, without what was not synced by then.

    with Shim() as shim:
        state = State([root, ...])             # what is there now is taken to be synced
        shim.record(mark='queued as ')
        ...                                    # programs run behind shim.prefix
        calls = shim.calls()
    for call in calls:
        state.apply(call)
        for survival in (nothing, everything, undone, Some(seed)):
            write_tree(state.tree(root, survival), target)  # then start on target: is what was promised before there?

The rules, those of POSIX at their strictest: an fsync of a file makes its content durable, not its name; an fsync of a directory
makes the names in it durable. Of what came after, any part may survive or not, in any order, a write also in parts or as zeros.
Only this is kept: a rename's new name is there before its old one is gone. fdatasync counts as fsync. Not known: what is
written through mapped memory, owners, modes, times."""
import os
import random

SECTOR = 512


class File:
    def __init__(self, content=b''):
        self.durable = content
        self.pending = []  # write and truncate calls since the last sync

    def sync(self):
        self.durable, self.pending = self.content(everything), []

    def content(self, survival):
        content = bytearray(self.durable)
        for call in self.pending:
            for offset, data in survival.write(call):
                if data is None:  # a new size
                    del content[offset:]
                    content.extend(bytes(offset - len(content)))
                else:
                    content.extend(bytes(max(0, offset + len(data) - len(content))))
                    content[offset:offset + len(data)] = data
        return bytes(content)


class Change:
    """Of one name in a directory. after: another change without which this one cannot have survived."""

    def __init__(self, name, node, after=None):
        self.name, self.node, self.after = name, node, after
        self.durable = False


class Directory:
    def __init__(self):
        self.durable = {}
        self.pending = []

    def sync(self):
        for change in self.pending:
            _apply(self.durable, change)
            change.durable = True
        self.pending = []

    def names(self, kept):
        names = dict(self.durable)
        for change in self.pending:
            if change in kept:
                _apply(names, change)
        return names


def _apply(names, change):
    if change.node is None:
        names.pop(change.name, None)
    else:
        names[change.name] = change.node


class State:
    """Of the disk at one point."""

    def __init__(self, roots):
        self.nodes = {}
        self.roots = {}
        for root in roots:
            self.roots[root] = self._take(root)

    def _take(self, path):
        if os.path.isdir(path) and not os.path.islink(path):
            node = Directory()
            node.durable = {name: self._take(f'{path}/{name}') for name in os.listdir(path)
                            if os.path.isdir(f'{path}/{name}') or os.path.isfile(f'{path}/{name}')}
        else:
            with open(path, 'rb') as file:
                node = File(file.read())
        self.nodes[os.lstat(path).st_ino] = node
        return node

    def apply(self, call):
        """False: it did not concern anything below the roots."""
        node, directory, directory2 = (self.nodes.get(inode) for inode in (call.inode, call.directory, call.directory2))
        if call.kind in ('create', 'mkdir'):
            self.nodes.pop(call.inode, None)  # the number of a file that is gone
            if not directory:
                return False
            node = self.nodes[call.inode] = File() if call.kind == 'create' else Directory()
            directory.pending.append(Change(call.name, node))
        elif call.kind in ('write', 'truncate', 'sync'):
            if not node:
                return False
            node.sync() if call.kind == 'sync' else node.pending.append(call)
        elif call.kind == 'rename':
            if not directory and not directory2:
                return False
            assert directory and directory2 and node, f'into the roots or out of them: {call}'
            arrival = Change(call.name2, node)
            directory2.pending.append(arrival)
            directory.pending.append(Change(call.name, None, after=arrival))
        elif call.kind in ('link', 'unlink'):
            if not directory:
                return False
            directory.pending.append(Change(call.name, node if call.kind == 'link' else None))
        return True

    def _kept(self, survival):
        kept = set()
        changes = [change for node in self.nodes.values() if isinstance(node, Directory) for change in node.pending]
        for change in changes:
            if survival.change(change):
                kept.add(change)
        for change in changes:  # an old name cannot go before its new one came
            if change.after and not change.after.durable and change.after not in kept:
                kept.discard(change)
        return kept

    def tree(self, root, survival):
        """Path below root to content (None: a directory) of all that survived."""
        found = {}
        kept = self._kept(survival)

        def walk(node, path):
            for name, below in sorted(node.names(kept).items()):
                if isinstance(below, Directory):
                    found[path + name] = None
                    walk(below, path + name + '/')
                else:
                    found[path + name] = below.content(survival)

        walk(self.roots[root], '')
        return found


def write_tree(tree, target, owner=None):
    """Makes it real. owner: (uid, gid) of all of it."""
    for path, content in tree.items():
        if content is None:
            os.mkdir(f'{target}/{path}', 0o700)
        else:
            with open(f'{target}/{path}', 'wb') as file:
                file.write(content)
            os.chmod(f'{target}/{path}', 0o600)
        if owner:
            os.chown(f'{target}/{path}', *owner)


class Everything:
    """A process was killed, the system lives."""

    def change(self, _):
        return True

    def write(self, call):
        yield (call.offset, None) if call.kind == 'truncate' else (call.offset, call.data)


class Nothing:
    """Nothing but what was synced."""

    def change(self, _):
        return False

    def write(self, _):
        return ()


class Undone:
    """Everything but what takes back: names that were removed, octets that were overwritten with zeros."""

    def change(self, change):
        return change.node is not None

    def write(self, call):
        if call.kind == 'truncate' or any(call.data):
            yield from everything.write(call)


everything, nothing, undone = Everything(), Nothing(), Undone()


class Some:
    """Any part, torn."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def change(self, _):
        return self.random.random() < 0.5

    def write(self, call):
        how = self.random.choice(('lost', 'whole', 'torn', 'zeros', 'later'))
        if how == 'lost':
            return
        if call.kind == 'truncate':
            yield call.offset, None
        elif how == 'torn':
            end = self.random.randrange(len(call.data) + 1)
            yield call.offset, call.data[:self.random.choice((end, end - end % SECTOR))]
        elif how == 'zeros':
            yield call.offset, bytes(len(call.data))
        elif how == 'later' and len(call.data) > SECTOR:
            yield call.offset + SECTOR, call.data[SECTOR:]
        else:
            yield call.offset, call.data
