package tpf.database;

import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import de.bwaldvogel.mongo.wire.message.MongoQuery;
import io.netty.channel.Channel;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import org.h2.mvstore.MVStore;

/**
 * Makes mongo-java-server fit for money, where its own backend is not:
 *
 * <ul>
 *   <li>One command at a time. Its collections lock themselves, its indexes and databases do not all.
 *   <li>A reply is copied before the next command may run. The backend answers with the documents it stores, and
 *       encodes them later, so a reply could tell of a change that somebody else made after it.
 *   <li>What a command changed is committed and synced before its reply leaves: an acknowledged write outlives
 *       {@code kill -9}. Nothing else commits, so a file never holds half a command.
 *   <li>Where a commit fails the process ends at once, without an answer: memory then holds what the disk does
 *       not, and nobody may read it.
 * </ul>
 */
final class SafeBackend implements MongoBackend {
    private final MongoBackend backend;
    private final MVStore store;
    private final boolean isDurable;
    private final ReentrantLock oneAtATime = new ReentrantLock(true);

    SafeBackend(MongoBackend backend, MVStore store) {
        this.backend = backend;
        this.store = store;
        this.isDurable = store.getFileStore() != null;
    }

    @Override
    public Document handleMessage(MongoMessage message) {
        return exclusively(() -> {
            Document request = message.getDocument();
            String command = request.keySet().iterator().next();
            return "hello".equals(command)
                    ? hello(message.getChannel(), message.getDatabaseName(), request)
                    : backend.handleMessage(message).cloneDeeply();
        });
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document request) {
        return exclusively(() -> "hello".equals(command) || "ismaster".equalsIgnoreCase(command)
                ? hello(channel, database, request)
                : backend.handleCommand(channel, database, command, request).cloneDeeply());
    }

    @Override
    public QueryResult handleQuery(MongoQuery query) {
        return exclusively(() -> {
            QueryResult result = backend.handleQuery(query);
            List<Document> copies = new ArrayList<>();
            for (Document document : result) copies.add(document.cloneDeeply());
            return new QueryResult(copies, result.getCursorId());
        });
    }

    /** The backend knows only the older name of this command. */
    private Document hello(Channel channel, String database, Document request) {
        Document reply = backend.handleCommand(channel, database, "ismaster", request);
        reply.put("isWritablePrimary", Boolean.TRUE);
        reply.put("helloOk", Boolean.TRUE);
        return reply;
    }

    private <T> T exclusively(Supplier<T> command) {
        oneAtATime.lock();
        try {
            try {
                return command.get();
            } finally {
                // Also after an exception: an insertMany that ends in a duplicate has stored the earlier ones.
                commit();
            }
        } finally {
            oneAtATime.unlock();
        }
    }

    private void commit() {
        try {
            if (isDurable && store.hasUnsavedChanges()) {
                store.commit();
                store.sync();
            }
        } catch (Throwable failure) {
            System.err.println("the database cannot write its file and ends: " + failure);
            Runtime.getRuntime().halt(1);
        }
    }

    /** Waits for the command under way, then closes for good: the lock is kept, so nothing is answered after. */
    @Override
    public void close() {
        oneAtATime.lock();
        backend.close();
    }

    @Override
    public void handleClose(Channel channel) {
        exclusively(() -> {
            backend.handleClose(channel);
            return null;
        });
    }

    @Override
    public void closeCursors(List<Long> cursorIds) {
        exclusively(() -> {
            backend.closeCursors(cursorIds);
            return null;
        });
    }

    @Override
    public void dropDatabase(String database) {
        exclusively(() -> {
            backend.dropDatabase(database);
            return null;
        });
    }

    @Override
    public Collection<Document> getCurrentOperations(MongoQuery query) {
        return exclusively(() -> backend.getCurrentOperations(query));
    }

    @Override
    public Document getServerStatus() {
        return exclusively(backend::getServerStatus);
    }

    @Override
    public MongoDatabase resolveDatabase(String database) {
        return exclusively(() -> backend.resolveDatabase(database));
    }

    @Override
    public Clock getClock() {
        return backend.getClock();
    }

    @Override
    public void enableOplog() {
        throw new UnsupportedOperationException("this launcher keeps no oplog");
    }

    @Override
    public void disableOplog() {
        // There is none.
    }

    @Override
    public MongoBackend version(MongoVersion version) {
        backend.version(version);
        return this;
    }
}
